// The pass over a line that fills a MessageIndex (design: "The line", "Bad input").
// Keys are compared by value, so an escaped key is the key that it spells. Keys of the top level, `hub`, `header` and `route`
// must not repeat, known or unknown; inside `content` the last one counts, as for any Kubernetes client.

/// One use: made for a line, asked once.
@safe struct MessageScanner {
    private var cursor: JSONCursor
    private(set) var index = MessageIndex()

    /// Unknown members that one checked object may have: each is compared with all others.
    private static let maxUnknownMembers = 256

    init(_ bytes: UnsafeRawBufferPointer) throws(MessageError) {
        guard let base = bytes.baseAddress, bytes.count < 1 << 31 else { throw MessageError(.notJSON, at: 0) }
        let typed = unsafe UnsafeBufferPointer(start: base.assumingMemoryBound(to: UInt8.self), count: bytes.count)
        cursor = unsafe JSONCursor(typed, base.assumingMemoryBound(to: UInt8.self))
    }

    // MARK: Objects

    /// The keys seen in one checked object.
    private struct Seen {
        var known: UInt32 = 0
        var unknown: [[UInt8]] = []

        var isEmpty: Bool { known == 0 && unknown.isEmpty }
    }

    /// Enters the object that starts here.
    /// - Returns: false when it is empty, and then it is passed.
    @inline(__always) private mutating func open() throws(MessageError) -> Bool {
        try cursor.take(0x7b)
        cursor.skipSpace()
        return !cursor.takeIf(0x7d)
    }

    /// Takes a key, and stands at its value then.
    @inline(__always) private mutating func key() throws(MessageError) -> Field {
        let key = try cursor.string()
        cursor.skipSpace()
        try cursor.take(0x3a)
        cursor.skipSpace()
        return key
    }

    /// Goes on behind a value.
    /// - Returns: false behind the end of the object, else a key stands here.
    @inline(__always) private mutating func more() throws(MessageError) -> Bool {
        cursor.skipSpace()
        if cursor.takeIf(0x7d) { return false }
        try cursor.take(0x2c)
        cursor.skipSpace()
        return true
    }

    // What follows takes the cursor, not the whole scanner with its index, which would be copied.

    /// Refuses a key that was seen before.
    /// - Parameter bit: the key's place in the set of known keys of the object `name`, 0 for an unknown one.
    @inline(__always) private static func note(
        _ key: Field, _ bit: UInt32, _ seen: inout Seen, _ cursor: JSONCursor, _ name: String
    ) throws(MessageError) {
        guard bit != 0 else { return try noteUnknown(key, &seen, cursor, name) }
        guard seen.known & bit == 0 else { throw MessageError(.duplicateKey, at: key.start, name) }
        seen.known |= bit
    }

    @inline(never) private static func noteUnknown(
        _ key: Field, _ seen: inout Seen, _ cursor: JSONCursor, _ name: String
    ) throws(MessageError) {
        let value = cursor.value(key)
        guard !seen.unknown.contains(value) else { throw MessageError(.duplicateKey, at: key.start, name) }
        guard seen.unknown.count < maxUnknownMembers else { throw MessageError(.tooManyMembers, at: key.start, name) }
        seen.unknown.append(value)
    }

    // MARK: The message

    /// Fills `index`.
    mutating func scan() throws(MessageError) {
        cursor.skipSpace()
        guard let first = cursor.current else { throw cursor.failure() }
        guard first == 0x7b else {
            // Tell broken text from a good value of the wrong kind.
            try cursor.skipValue(depth: 0)
            try end()
            throw MessageError(.notObject, at: 0)
        }
        index.inside = cursor.at + 1
        var hasHeader = false
        var hasRoute = false
        var seen = Seen()
        if try open() {
            repeat {
                let key = try key()
                let bit: UInt32
                if cursor.field(key, is: "header") {
                    hasHeader = try isObject("header")
                    if hasHeader { try header() }
                    bit = 1
                } else if cursor.field(key, is: "route") {
                    hasRoute = try isObject("route")
                    if hasRoute { try route() }
                    bit = 2
                } else if cursor.field(key, is: "content") {
                    try content()
                    bit = 4
                } else if cursor.field(key, is: "hub") {
                    guard seen.isEmpty else { throw MessageError(.misplacedEnvelope, at: key.start) }
                    try envelope()
                    bit = 8
                } else {
                    try cursor.skipValue(depth: 1)
                    bit = 0
                }
                try Self.note(key, bit, &seen, cursor, "")
            } while try more()
        }
        try end()
        guard hasHeader else { throw MessageError(.missing, at: 0, "header") }
        guard hasRoute else { throw MessageError(.missing, at: 0, "route") }
    }

    private mutating func end() throws(MessageError) {
        cursor.skipSpace()
        guard cursor.isAtEnd else { throw cursor.failure() }
    }

    /// An object stands here. `null` counts as absent, and is passed.
    @inline(__always) private mutating func isObject(_ name: String) throws(MessageError) -> Bool {
        switch cursor.current {
        case 0x7b: return true
        case 0x6e:
            try cursor.word("null")
            return false
        default: throw cursor.failure(.wrongType, name)
        }
    }

    private mutating func header() throws(MessageError) {
        guard try open() else { return }
        var seen = Seen()
        repeat {
            let key = try key()
            let bit: UInt32
            if cursor.field(key, is: "msg_id") {
                index.header.messageID = try text("msg_id")
                bit = 1
            } else if cursor.field(key, is: "parent_msg_id") {
                index.header.parentID = try text("parent_msg_id")
                bit = 2
            } else if cursor.field(key, is: "timestamp") {
                index.header.timestamp = try number("timestamp")
                bit = 4
            } else if cursor.field(key, is: "resourceversion") {
                index.header.resourceVersion = try text("resourceversion")
                bit = 8
            } else if cursor.field(key, is: "sync") {
                index.header.sync = try flag("sync")
                bit = 16
            } else if cursor.field(key, is: "type") {
                index.header.type = try text("type")
                bit = 32
            } else {
                try cursor.skipValue(depth: 2)
                bit = 0
            }
            try Self.note(key, bit, &seen, cursor, "header")
        } while try more()
    }

    private mutating func route() throws(MessageError) {
        index.route.inside = cursor.at + 1
        guard try open() else { return }
        var seen = Seen()
        repeat {
            let key = try key()
            index.route.isEmpty = false
            let start = cursor.at
            let bit: UInt32
            if cursor.field(key, is: "source") {
                index.route.source = try text("source")
                bit = 1
            } else if cursor.field(key, is: "group") {
                index.route.group = try text("group")
                bit = 2
            } else if cursor.field(key, is: "operation") {
                index.route.operation = try text("operation")
                bit = 4
            } else if cursor.field(key, is: "resource") {
                index.route.resource = try text("resource")
                index.route.resourceValue = Field(start: start, end: cursor.at)
                bit = 8
            } else if cursor.field(key, is: "destination") {
                index.route.destination = try text("destination")
                index.route.destinationValue = Field(start: start, end: cursor.at)
                bit = 16
            } else {
                try cursor.skipValue(depth: 2)
                bit = 0
            }
            try Self.note(key, bit, &seen, cursor, "route")
        } while try more()
    }

    // MARK: Envelope

    private mutating func envelope() throws(MessageError) {
        index.hub.isPresent = true
        guard cursor.current == 0x7b else { throw cursor.failure(.wrongType, "hub") }
        index.hub.inside = cursor.at + 1
        var seen = Seen()
        var isOpen = try open()
        while isOpen {
            let key = try key()
            let bit: UInt32
            if cursor.field(key, is: "kind") {
                index.hub.kind = try text("kind")
                bit = 1
            } else if cursor.field(key, is: "node") {
                index.hub.node = try text("node")
                bit = 2
            } else if cursor.field(key, is: "session") {
                let start = cursor.at
                index.hub.session = try integer("session")
                index.hub.sessionValue = Field(start: start, end: cursor.at)
                bit = 4
            } else if cursor.field(key, is: "key") {
                index.hub.key = try text("key")
                bit = 8
            } else if cursor.field(key, is: "version") {
                index.hub.version = try text("version")
                bit = 16
            } else if cursor.field(key, is: "force") {
                index.hub.force = try flag("force")
                bit = 32
            } else if cursor.field(key, is: "reply") {
                index.hub.reply = try flag("reply")
                bit = 64
            } else if cursor.field(key, is: "object") {
                let start = cursor.at
                guard cursor.current == 0x7b else { throw cursor.failure(.wrongType, "object") }
                try cursor.skipValue(depth: 2)
                index.hub.object = Field(start: start, end: cursor.at)
                bit = 128
            } else if cursor.field(key, is: "event") {
                index.hub.event = try text("event")
                bit = 256
            } else if cursor.field(key, is: "again") {
                index.hub.again = try flag("again")
                bit = 512
            } else if cursor.field(key, is: "reason") {
                index.hub.reason = try text("reason")
                bit = 1024
            } else {
                try cursor.skipValue(depth: 2)
                bit = 0
            }
            try Self.note(key, bit, &seen, cursor, "hub")
            isOpen = try more()
        }
        // The frame of an inner line is `{` and what follows the envelope's comma. Without a comma, `header` is missing anyway.
        cursor.skipSpace()
        index.hub.end = cursor.current == 0x2c ? cursor.at + 1 : cursor.at
    }

    // MARK: Content

    private mutating func content() throws(MessageError) {
        let start = cursor.at
        // Keys may repeat.
        if cursor.current != 0x7b {
            try cursor.skipValue(depth: 1)
        } else if try open() {
            repeat {
                let key = try key()
                if cursor.field(key, is: "metadata") {
                    try metadata()
                } else if cursor.field(key, is: "kind") {
                    index.content.kind = try textIfString(depth: 2)
                } else if cursor.field(key, is: "apiVersion") {
                    index.content.apiVersion = try textIfString(depth: 2)
                } else {
                    try cursor.skipValue(depth: 2)
                }
            } while try more()
        }
        index.content.value = Field(start: start, end: cursor.at)
    }

    private mutating func metadata() throws(MessageError) {
        index.content.uid = .absent
        index.content.name = .absent
        index.content.isDeleting = false
        guard cursor.current == 0x7b else { return try cursor.skipValue(depth: 2) }
        guard try open() else { return }
        repeat {
            let key = try key()
            if cursor.field(key, is: "uid") {
                index.content.uid = try textIfString(depth: 3)
            } else if cursor.field(key, is: "name") {
                index.content.name = try textIfString(depth: 3)
            } else if cursor.field(key, is: "deletionTimestamp") {
                index.content.isDeleting = cursor.current != 0x6e
                try cursor.skipValue(depth: 3)
            } else {
                try cursor.skipValue(depth: 3)
            }
        } while try more()
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

    @inline(__always) private mutating func textIfString(depth: Int) throws(MessageError) -> Field {
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
        var isNegative = false
        var value: Int64 = 0
        // 2^53 has 16 digits.
        var isInteger = field.count <= 17
        for offset in field.start..<field.end where isInteger {
            switch cursor.byte(offset) {
            case 0x2d: isNegative = true
            case let digit where digit &- 0x30 < 10: value = value &* 10 &+ Int64(digit &- 0x30)
            default: isInteger = false
            }
        }
        guard isInteger, value < 1 << 53, !isNegative || value == 0 else { throw MessageError(.wrongType, at: field.start, name) }
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
