// The pass over a line that fills a MessageIndex (design: "The line", "Bad input").
// Keys are compared by value, so an escaped key is the key that it spells. Keys of the top level, `hub`, `header` and `route`
// must not repeat, known or unknown; inside `content` the last one counts, as for any Kubernetes client.

/// One use: made for a line, asked once.
@safe struct MessageScanner {
    private var cursor: JSONCursor
    private let bytes: UnsafeRawBufferPointer
    private var index = MessageIndex()

    /// Unknown members that one checked object may have: each is compared with all others.
    private static let maxUnknownMembers = 256

    init(_ bytes: UnsafeRawBufferPointer) throws(MessageError) {
        guard let base = bytes.baseAddress, bytes.count < 1 << 31 else { throw MessageError(.notJSON, at: 0) }
        let typed = unsafe UnsafeBufferPointer(start: base.assumingMemoryBound(to: UInt8.self), count: bytes.count)
        cursor = unsafe JSONCursor(typed, base.assumingMemoryBound(to: UInt8.self))
        unsafe self.bytes = unsafe bytes
    }

    // MARK: Objects

    /// The keys seen in one checked object.
    private struct Seen {
        var known: UInt32 = 0
        var unknown: [[UInt8]] = []
    }

    /// Walks the object that starts here. `member` gets each key, stands at its value, takes it, and returns the key's bit in
    /// the set of known keys, or nil after skipping the value of an unknown one.
    @inline(__always)
    private mutating func checkedObject(
        _ name: String, _ member: (inout MessageScanner, Field) throws(MessageError) -> UInt32?
    ) throws(MessageError) {
        try cursor.take(0x7b)
        var seen = Seen()
        cursor.skipSpace()
        if cursor.takeIf(0x7d) { return }
        while true {
            let key = try cursor.string()
            cursor.skipSpace()
            try cursor.take(0x3a)
            cursor.skipSpace()
            if let bit = try member(&self, key) {
                guard seen.known & bit == 0 else { throw MessageError(.duplicateKey, at: key.start, name) }
                seen.known |= bit
            } else {
                let value = unsafe key.isEscaped ? JSONText.unescape(raw(key)) : [UInt8](raw(key))
                guard !seen.unknown.contains(value) else { throw MessageError(.duplicateKey, at: key.start, name) }
                guard seen.unknown.count < Self.maxUnknownMembers else { throw MessageError(.tooManyMembers, at: key.start, name) }
                seen.unknown.append(value)
            }
            cursor.skipSpace()
            if cursor.takeIf(0x7d) { return }
            try cursor.take(0x2c)
            cursor.skipSpace()
        }
    }

    private func raw(_ field: Field) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: bytes[field.start..<field.end])
    }

    @inline(__always) private func key(_ field: Field, is text: StaticString) -> Bool {
        if field.isEscaped {
            return unsafe JSONText.unescape(raw(field)).elementsEqual(
                UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }
        return unsafe JSONText.equal(raw(field), text)
    }

    // MARK: The message

    mutating func scan() throws(MessageError) -> MessageIndex {
        cursor.skipSpace()
        guard let first = cursor.current else { throw cursor.failure() }
        guard first == 0x7b else {
            // Tell broken text from a good value of the wrong kind.
            try cursor.skipValue(depth: 0)
            try end()
            throw MessageError(.notObject, at: 0)
        }
        index.inside = cursor.at + 1
        var isFirst = true
        var hasHeader = false
        var hasRoute = false
        try checkedObject("") { (scanner: inout MessageScanner, key) throws(MessageError) -> UInt32? in
            defer { isFirst = false }
            if scanner.key(key, is: "header") {
                hasHeader = try scanner.object("header") { (inner: inout MessageScanner) throws(MessageError) in try inner.header() }
                return 1
            }
            if scanner.key(key, is: "route") {
                hasRoute = try scanner.object("route") { (inner: inout MessageScanner) throws(MessageError) in try inner.route() }
                return 2
            }
            if scanner.key(key, is: "content") {
                try scanner.content()
                return 4
            }
            if scanner.key(key, is: "hub") {
                guard isFirst else { throw MessageError(.misplacedEnvelope, at: key.start) }
                try scanner.envelope(at: key.start)
                return 8
            }
            try scanner.cursor.skipValue(depth: 1)
            return nil
        }
        try end()
        guard hasHeader else { throw MessageError(.missing, at: 0, "header") }
        guard hasRoute else { throw MessageError(.missing, at: 0, "route") }
        return index
    }

    private mutating func end() throws(MessageError) {
        cursor.skipSpace()
        guard cursor.isAtEnd else { throw cursor.failure() }
    }

    /// Reads an object by `body`. `null` counts as absent.
    private mutating func object(
        _ name: String, _ body: (inout MessageScanner) throws(MessageError) -> Void
    ) throws(MessageError) -> Bool {
        switch cursor.current {
        case 0x7b:
            try body(&self)
            return true
        case 0x6e:
            try cursor.word("null")
            return false
        default: throw cursor.failure(.wrongType, name)
        }
    }

    private mutating func header() throws(MessageError) {
        try checkedObject("header") { (scanner: inout MessageScanner, key) throws(MessageError) -> UInt32? in
            if scanner.key(key, is: "msg_id") {
                scanner.index.header.messageID = try scanner.text("msg_id")
                return 1
            }
            if scanner.key(key, is: "parent_msg_id") {
                scanner.index.header.parentID = try scanner.text("parent_msg_id")
                return 2
            }
            if scanner.key(key, is: "timestamp") {
                scanner.index.header.timestamp = try scanner.number("timestamp")
                return 4
            }
            if scanner.key(key, is: "resourceversion") {
                scanner.index.header.resourceVersion = try scanner.text("resourceversion")
                return 8
            }
            if scanner.key(key, is: "sync") {
                scanner.index.header.sync = try scanner.flag("sync")
                return 16
            }
            if scanner.key(key, is: "type") {
                scanner.index.header.type = try scanner.text("type")
                return 32
            }
            try scanner.cursor.skipValue(depth: 2)
            return nil
        }
    }

    private mutating func route() throws(MessageError) {
        index.route.inside = cursor.at + 1
        try checkedObject("route") { (scanner: inout MessageScanner, key) throws(MessageError) -> UInt32? in
            scanner.index.route.isEmpty = false
            let start = scanner.cursor.at
            if scanner.key(key, is: "source") {
                scanner.index.route.source = try scanner.text("source")
                return 1
            }
            if scanner.key(key, is: "group") {
                scanner.index.route.group = try scanner.text("group")
                return 2
            }
            if scanner.key(key, is: "operation") {
                scanner.index.route.operation = try scanner.text("operation")
                return 4
            }
            if scanner.key(key, is: "resource") {
                scanner.index.route.resource = try scanner.text("resource")
                scanner.index.route.resourceValue = Field(start: start, end: scanner.cursor.at)
                return 8
            }
            if scanner.key(key, is: "destination") {
                scanner.index.route.destination = try scanner.text("destination")
                scanner.index.route.destinationValue = Field(start: start, end: scanner.cursor.at)
                return 16
            }
            try scanner.cursor.skipValue(depth: 2)
            return nil
        }
    }

    // MARK: Envelope

    private mutating func envelope(at position: Int) throws(MessageError) {
        index.hub.isPresent = true
        guard cursor.current == 0x7b else { throw cursor.failure(.wrongType, "hub") }
        index.hub.inside = cursor.at + 1
        try checkedObject("hub") { (scanner: inout MessageScanner, key) throws(MessageError) -> UInt32? in
            if scanner.key(key, is: "kind") {
                scanner.index.hub.kind = try scanner.text("kind")
                return 1
            }
            if scanner.key(key, is: "node") {
                scanner.index.hub.node = try scanner.text("node")
                return 2
            }
            if scanner.key(key, is: "session") {
                let start = scanner.cursor.at
                scanner.index.hub.session = try scanner.integer("session")
                scanner.index.hub.sessionValue = Field(start: start, end: scanner.cursor.at)
                return 4
            }
            if scanner.key(key, is: "key") {
                scanner.index.hub.key = try scanner.text("key")
                return 8
            }
            if scanner.key(key, is: "version") {
                scanner.index.hub.version = try scanner.text("version")
                return 16
            }
            if scanner.key(key, is: "force") {
                scanner.index.hub.force = try scanner.flag("force")
                return 32
            }
            if scanner.key(key, is: "reply") {
                scanner.index.hub.reply = try scanner.flag("reply")
                return 64
            }
            if scanner.key(key, is: "object") {
                let start = scanner.cursor.at
                guard scanner.cursor.current == 0x7b else { throw scanner.cursor.failure(.wrongType, "object") }
                try scanner.cursor.skipValue(depth: 2)
                scanner.index.hub.object = Field(start: start, end: scanner.cursor.at)
                return 128
            }
            if scanner.key(key, is: "event") {
                scanner.index.hub.event = try scanner.text("event")
                return 256
            }
            if scanner.key(key, is: "again") {
                scanner.index.hub.again = try scanner.flag("again")
                return 512
            }
            if scanner.key(key, is: "reason") {
                scanner.index.hub.reason = try scanner.text("reason")
                return 1024
            }
            try scanner.cursor.skipValue(depth: 2)
            return nil
        }
        // The frame of an inner line is `{` and what follows the envelope's comma. Without a comma, `header` is missing anyway.
        cursor.skipSpace()
        index.hub.end = cursor.current == 0x2c ? cursor.at + 1 : cursor.at
    }

    // MARK: Content

    private mutating func content() throws(MessageError) {
        let start = cursor.at
        defer { index.content.value = Field(start: start, end: cursor.at) }
        guard cursor.current == 0x7b else { return try cursor.skipValue(depth: 1) }
        try looseObject { (scanner: inout MessageScanner, key) throws(MessageError) in
            if scanner.key(key, is: "metadata") {
                try scanner.metadata()
            } else if scanner.key(key, is: "kind") {
                scanner.index.content.kind = try scanner.textIfString(depth: 2)
            } else if scanner.key(key, is: "apiVersion") {
                scanner.index.content.apiVersion = try scanner.textIfString(depth: 2)
            } else {
                try scanner.cursor.skipValue(depth: 2)
            }
        }
    }

    private mutating func metadata() throws(MessageError) {
        index.content.uid = .absent
        index.content.name = .absent
        index.content.isDeleting = false
        guard cursor.current == 0x7b else { return try cursor.skipValue(depth: 2) }
        try looseObject { (scanner: inout MessageScanner, key) throws(MessageError) in
            if scanner.key(key, is: "uid") {
                scanner.index.content.uid = try scanner.textIfString(depth: 3)
            } else if scanner.key(key, is: "name") {
                scanner.index.content.name = try scanner.textIfString(depth: 3)
            } else if scanner.key(key, is: "deletionTimestamp") {
                scanner.index.content.isDeleting = scanner.cursor.current != 0x6e
                try scanner.cursor.skipValue(depth: 3)
            } else {
                try scanner.cursor.skipValue(depth: 3)
            }
        }
    }

    /// Walks an object in which keys may repeat; `member` takes the value.
    @inline(__always)
    private mutating func looseObject(
        _ member: (inout MessageScanner, Field) throws(MessageError) -> Void
    ) throws(MessageError) {
        try cursor.take(0x7b)
        cursor.skipSpace()
        if cursor.takeIf(0x7d) { return }
        while true {
            let key = try cursor.string()
            cursor.skipSpace()
            try cursor.take(0x3a)
            cursor.skipSpace()
            try member(&self, key)
            cursor.skipSpace()
            if cursor.takeIf(0x7d) { return }
            try cursor.take(0x2c)
            cursor.skipSpace()
        }
    }

    // MARK: Values of known members

    @inline(__always) private mutating func text(_ name: String) throws(MessageError) -> Field {
        switch cursor.current {
        case 0x22: return try cursor.string()
        case 0x6e:
            try cursor.word("null")
            return .absent
        default: throw cursor.failure(.wrongType, name)
        }
    }

    private mutating func textIfString(depth: Int) throws(MessageError) -> Field {
        if cursor.current == 0x22 { return try cursor.string() }
        try cursor.skipValue(depth: depth)
        return .absent
    }

    private mutating func number(_ name: String) throws(MessageError) -> Field {
        switch cursor.current {
        case 0x2d, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39: return try cursor.number()
        case 0x6e:
            try cursor.word("null")
            return .absent
        default: throw cursor.failure(.wrongType, name)
        }
    }

    /// A non-negative integer below 2^53, or nothing for `null`.
    private mutating func integer(_ name: String) throws(MessageError) -> Int64? {
        let field = try number(name)
        guard field.isPresent else { return nil }
        guard let value = unsafe Int64(String(decoding: raw(field), as: UTF8.self)), value >= 0, value < 1 << 53 else {
            throw MessageError(.wrongType, at: field.start, name)
        }
        return value
    }

    private mutating func flag(_ name: String) throws(MessageError) -> Bool {
        switch cursor.current {
        case 0x74:
            try cursor.word("true")
            return true
        case 0x66: try cursor.word("false")
        case 0x6e: try cursor.word("null")
        default: throw cursor.failure(.wrongType, name)
        }
        return false
    }
}
