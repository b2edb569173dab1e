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

    /// Goes on behind a value.
    /// - Returns: false behind the end of the object, else a key stands here.
    @inline(__always) private mutating func more() throws(MessageError) -> Bool {
        cursor.skipSpace()
        if cursor.takeIf(0x7d) { return false }
        try cursor.takeSpaced(0x2c)
        return true
    }

    // What follows takes the cursor, not the whole scanner with its index, which would be copied.

    /// Refuses a key that was seen before.
    /// - Parameter member: the key's number among the known members of the object `name`, 0 for an unknown one.
    @inline(__always) private static func note(
        _ key: Field, _ member: UInt8, _ seen: inout Seen, _ cursor: JSONCursor, _ name: String
    ) throws(MessageError) {
        guard member != 0 else { return try noteUnknown(key, &seen, cursor, name) }
        let bit: UInt32 = 1 << UInt32(member & 31)
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
                var key = Field.absent
                let member = try cursor.messageKey(&key)
                cursor.skipSpace()
                switch member {
                case .header:
                    hasHeader = try isObject("header")
                    if hasHeader { try header() }
                case .route:
                    hasRoute = try isObject("route")
                    if hasRoute { try route() }
                case .content: try content()
                case .hub:
                    guard seen.isEmpty else { throw MessageError(.misplacedEnvelope, at: key.start) }
                    try envelope()
                case .unknown: try cursor.skipValue(depth: 1)
                }
                try Self.note(key, member.rawValue, &seen, cursor, "")
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
            var key = Field.absent
            let member = try cursor.headerKey(&key)
            cursor.skipSpace()
            switch member {
            case .messageID: index.header.messageID = try text("msg_id")
            case .parentID: index.header.parentID = try text("parent_msg_id")
            case .timestamp: index.header.timestamp = try number("timestamp")
            case .resourceVersion: index.header.resourceVersion = try text("resourceversion")
            case .sync: index.header.sync = try flag("sync")
            case .type: index.header.type = try text("type")
            case .unknown: try cursor.skipValue(depth: 2)
            }
            try Self.note(key, member.rawValue, &seen, cursor, "header")
        } while try more()
    }

    private mutating func route() throws(MessageError) {
        index.route.inside = cursor.at + 1
        guard try open() else { return }
        var seen = Seen()
        repeat {
            var key = Field.absent
            let member = try cursor.routeKey(&key)
            cursor.skipSpace()
            index.route.isEmpty = false
            let start = cursor.at
            switch member {
            case .source: index.route.source = try text("source")
            case .group: index.route.group = try text("group")
            case .operation: index.route.operation = try text("operation")
            case .resource:
                index.route.resource = try text("resource")
                index.route.resourceValue = Field(start: start, end: cursor.at)
            case .destination:
                index.route.destination = try text("destination")
                index.route.destinationValue = Field(start: start, end: cursor.at)
            case .unknown: try cursor.skipValue(depth: 2)
            }
            try Self.note(key, member.rawValue, &seen, cursor, "route")
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
            var key = Field.absent
            let member = try cursor.envelopeKey(&key)
            cursor.skipSpace()
            switch member {
            case .kind: index.hub.kind = try text("kind")
            case .node: index.hub.node = try text("node")
            case .session:
                let start = cursor.at
                index.hub.session = try integer("session")
                index.hub.sessionValue = Field(start: start, end: cursor.at)
            case .key: index.hub.key = try text("key")
            case .version: index.hub.version = try text("version")
            case .force: index.hub.force = try flag("force")
            case .reply: index.hub.reply = try flag("reply")
            case .object:
                let start = cursor.at
                guard cursor.current == 0x7b else { throw cursor.failure(.wrongType, "object") }
                try cursor.skipValue(depth: 2)
                index.hub.object = Field(start: start, end: cursor.at)
            case .event: index.hub.event = try text("event")
            case .again: index.hub.again = try flag("again")
            case .reason: index.hub.reason = try text("reason")
            case .unknown: try cursor.skipValue(depth: 2)
            }
            try Self.note(key, member.rawValue, &seen, cursor, "hub")
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
                var key = Field.absent
                let member = try cursor.contentKey(&key)
                cursor.skipSpace()
                switch member {
                case .metadata: try metadata()
                case .kind: index.content.kind = try textIfString(depth: 2)
                case .apiVersion: index.content.apiVersion = try textIfString(depth: 2)
                case .unknown: try cursor.skipValue(depth: 2)
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
            var key = Field.absent
            let member = try cursor.metadataKey(&key)
            cursor.skipSpace()
            switch member {
            case .uid: index.content.uid = try textIfString(depth: 3)
            case .name: index.content.name = try textIfString(depth: 3)
            case .deletionTimestamp:
                index.content.isDeleting = cursor.current != 0x6e
                try cursor.skipValue(depth: 3)
            case .unknown: try cursor.skipValue(depth: 3)
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
        let isNegative = cursor.byte(field.start) == 0x2d
        var value: Int64 = 0
        // 2^53 has 16 digits.
        guard field.count <= 17 else { throw MessageError(.wrongType, at: field.start, name) }
        var offset = field.start &+ (isNegative ? 1 : 0)
        while offset < field.end {
            let digit = cursor.byte(offset) &- 0x30
            guard digit < 10 else { throw MessageError(.wrongType, at: field.start, name) }
            value = value &* 10 &+ Int64(digit)
            offset &+= 1
        }
        guard value < 1 << 53, !isNegative || value == 0 else { throw MessageError(.wrongType, at: field.start, name) }
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
