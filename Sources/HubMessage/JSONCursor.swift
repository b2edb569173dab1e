// A strict RFC 8259 reader over bytes. It decodes nothing: it checks, skips, and tells where values stand.
// UTF-8 is checked by RFC 3629 (no surrogates, no overlong forms). Strings are skipped a word at a time.

/// A position in a line. The bytes must outlive it; it lives inside one call of `Line.scan`.
@safe struct JSONCursor {
    private let base: UnsafePointer<UInt8>
    private let count: Int
    private(set) var at = 0

    /// Deepest nesting of arrays and objects that is accepted.
    static let maxDepth = 512

    init(_ bytes: UnsafeBufferPointer<UInt8>, _ base: UnsafePointer<UInt8>) {
        unsafe self.base = unsafe base
        count = bytes.count
    }

    var isAtEnd: Bool { at >= count }

    @inline(__always) func byte(_ offset: Int) -> UInt8 { unsafe base[offset] }

    @inline(__always) var current: UInt8? { unsafe at < count ? base[at] : nil }

    @inline(__always) mutating func skipSpace() {
        while at < count, unsafe base[at] <= 0x20 {
            switch unsafe base[at] {
            case 0x20, 0x09, 0x0a, 0x0d: at &+= 1
            default: return
            }
        }
    }

    /// Takes `expected`, which must stand here.
    @inline(__always) mutating func take(_ expected: UInt8) throws(MessageError) {
        guard at < count, unsafe base[at] == expected else { throw failure() }
        at &+= 1
    }

    /// Takes `wanted` if it stands here.
    @inline(__always) mutating func takeIf(_ wanted: UInt8) -> Bool {
        guard at < count, unsafe base[at] == wanted else { return false }
        at &+= 1
        return true
    }

    /// Takes a colon or a comma, with the white space around it. Most lines have none.
    @inline(__always) mutating func takeSpaced(_ expected: UInt8) throws(MessageError) {
        if at &+ 1 < count, unsafe base[at] == expected && base[at &+ 1] > 0x20 {
            at &+= 1
            return
        }
        skipSpace()
        try take(expected)
        skipSpace()
    }

    /// Takes the key `name` with its colon if it stands here as it is usually written.
    /// - Parameter key: becomes its place, if so.
    @inline(__always) mutating func takeKey(_ name: StaticString, _ key: inout Field) -> Bool {
        let start = at &+ 1
        let end = start &+ name.utf8CodeUnitCount
        guard end &+ 2 <= count, unsafe JSONText.matches(base + start, name), byte(at) == 0x22, byte(end) == 0x22, byte(end &+ 1) == 0x3a
        else { return false }
        key = Field(start: start, end: end)
        at = end &+ 2
        return true
    }

    /// Takes a key and its colon, however they are written.
    @inline(__always) mutating func takeKey() throws(MessageError) -> Field {
        let key = try string()
        skipSpace()
        try take(0x3a)
        return key
    }

    @inline(never) func failure(_ code: MessageError.Code = .notJSON, _ member: String = "") -> MessageError {
        MessageError(code, at: min(at, count), member)
    }

    @inline(never) private func failure(_ code: MessageError.Code, at offset: Int) -> MessageError {
        MessageError(code, at: offset)
    }

    /// The bytes of a field as they stand in the line.
    @inline(__always) private func raw(_ field: Field) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base + field.start, count: field.count)
    }

    /// The value of a string.
    func value(_ field: Field) -> [UInt8] {
        unsafe field.isEscaped ? JSONText.unescape(raw(field)) : [UInt8](raw(field))
    }

    /// A string has the value `text`.
    @inline(__always) func field(_ field: Field, is text: StaticString) -> Bool {
        if field.isEscaped { return escaped(field, is: text) }
        return unsafe JSONText.equal(raw(field), text)
    }

    @inline(never) private func escaped(_ field: Field, is text: StaticString) -> Bool {
        unsafe value(field).elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    // MARK: Strings

    /// Skips the string that starts here and returns its inside.
    @inline(__always) mutating func string() throws(MessageError) -> Field {
        try take(0x22)
        let start = at
        // Keys and most values end within a word.
        if at &+ 8 <= count {
            let ends = Self.ends(in: load(at))
            if ends != 0 {
                at &+= ends.trailingZeroBitCount >> 3
                if unsafe base[at] == 0x22 {
                    at &+= 1
                    return Field(start: start, end: at &- 1)
                }
            } else {
                at &+= 8
            }
        }
        return try restOfString(start)
    }

    @inline(never) private mutating func restOfString(_ start: Int) throws(MessageError) -> Field {
        var isEscaped = false
        while true {
            // A copy of the position stays in a register.
            var place = at
            skipPlain(&place)
            at = place
            guard at < count else { throw failure() }
            let byte = unsafe base[at]
            switch byte {
            case 0x22:
                at &+= 1
                return Field(start: start, end: at &- 1, isEscaped: isEscaped)
            case 0x5c:
                isEscaped = true
                try escape()
            case 0x80...:
                // Text in another script is a run of such characters.
                repeat { try unsafe multibyte(base[at]) } while unsafe at < count && base[at] >= 0x80
            default: throw failure()
            }
        }
    }

    @inline(__always) private func load(_ offset: Int) -> UInt64 {
        unsafe UInt64(littleEndian: UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self))
    }

    /// Sets the high bit of each byte that is not plain inside a string: a quote, a backslash, a control character, or no ASCII.
    /// Behind the first such byte there may be false ones, because a subtraction borrows.
    @inline(__always) private static func ends(in word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        // Exclusive or with 2 puts the quote (0x22) next to the control characters: both are below 0x21 then, and nothing else is.
        let low = (word ^ (ones &* 0x02)) &- (ones &* 0x21)
        let backslash = (word ^ (ones &* 0x5c)) &- ones
        return (low | backslash | word) & (ones &* 0x80)
    }

    /// Skips bytes that are plain inside a string: by words, and in a long string by blocks.
    @inline(__always) private func skipPlain(_ at: inout Int) {
        for turn in 0..<2 {
            // Without a count the compiler writes the four words out.
            if skipWord(&at) || skipWord(&at) || skipWord(&at) || skipWord(&at) { return }
            if turn == 0 { at = blocksEnd(at) }
        }
        while at < count {
            let byte = unsafe base[at]
            if byte == 0x22 || byte == 0x5c || byte < 0x20 || byte >= 0x80 { return }
            at &+= 1
        }
    }

    /// - Returns: true when what follows is not plain; it stands here then.
    @inline(__always) private func skipWord(_ at: inout Int) -> Bool {
        guard at &+ 8 <= count else { return false }
        let ends = Self.ends(in: load(at))
        guard ends == 0 else {
            at &+= ends.trailingZeroBitCount >> 3
            return true
        }
        at &+= 8
        return false
    }

    /// The same 32 bytes at a time, up to the block that has an end. Vectors are only added and combined: comparing them is slow.
    @inline(never) private func blocksEnd(_ start: Int) -> Int {
        var at = start
        while at &+ 32 <= count {
            let ends = Self.ends(in: block(at)) | Self.ends(in: block(at &+ 16))
            let halves = unsafe unsafeBitCast(ends, to: SIMD2<UInt64>.self)
            guard (halves[0] | halves[1]) & 0x8080_8080_8080_8080 == 0 else { return at }
            at &+= 32
        }
        return at
    }

    @inline(__always) private func block(_ offset: Int) -> SIMD16<UInt8> {
        unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: SIMD16<UInt8>.self)
    }

    @inline(__always) private static func ends(in block: SIMD16<UInt8>) -> SIMD16<UInt8> {
        let low = (block ^ SIMD16(repeating: 0x02)) &- SIMD16(repeating: 0x21)
        let backslash = (block ^ SIMD16(repeating: 0x5c)) &- SIMD16(repeating: 1)
        return low | backslash | block
    }

    private mutating func escape() throws(MessageError) {
        at += 1
        guard at < count else { throw failure() }
        switch unsafe base[at] {
        case 0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74: at += 1
        case 0x75:
            at += 1
            for _ in 0..<4 {
                guard at < count, unsafe hexValue(base[at]) != nil else { throw failure() }
                at += 1
            }
        default: throw failure()
        }
    }

    private mutating func multibyte(_ lead: UInt8) throws(MessageError) {
        let length: Int
        var low: UInt8 = 0x80
        var high: UInt8 = 0xbf
        switch lead {
        case 0xc2...0xdf: length = 2
        case 0xe0: (length, low) = (3, 0xa0)
        case 0xe1...0xec, 0xee...0xef: length = 3
        case 0xed: (length, high) = (3, 0x9f)
        case 0xf0: (length, low) = (4, 0x90)
        case 0xf1...0xf3: length = 4
        case 0xf4: (length, high) = (4, 0x8f)
        default: throw failure(.invalidUTF8)
        }
        guard at + length <= count else { throw failure(.invalidUTF8) }
        guard unsafe (low...high).contains(base[at + 1]) else { throw failure(.invalidUTF8) }
        for index in 2..<max(length, 2) {
            guard unsafe base[at + index] & 0xc0 == 0x80 else { throw failure(.invalidUTF8) }
        }
        at += length
    }

    // MARK: Other values

    /// Skips the number that starts here and returns it.
    @inline(never) mutating func number() throws(MessageError) -> Field {
        let start = at
        _ = takeIf(0x2d)
        if !takeIf(0x30) {
            try digits()
        }
        if takeIf(0x2e) {
            try digits()
        }
        if at < count, unsafe base[at] | 0x20 == 0x65 {
            at &+= 1
            if !takeIf(0x2b) { _ = takeIf(0x2d) }
            try digits()
        }
        return Field(start: start, end: at)
    }

    @inline(__always) private mutating func digits() throws(MessageError) {
        let start = at
        while at &+ 8 <= count {
            // A digit becomes its value; what is more than 9 then, or no ASCII, gets the high bit.
            let values = load(at) ^ 0x3030_3030_3030_3030
            let ends = ((values &+ 0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080
            if ends != 0 {
                at &+= ends.trailingZeroBitCount >> 3
                guard at > start else { throw failure() }
                return
            }
            at &+= 8
        }
        while at < count, unsafe base[at] &- 0x30 < 10 { at &+= 1 }
        guard at > start else { throw failure() }
    }

    /// Takes `true`, `false` or `null`, written out.
    @inline(__always) mutating func word(_ text: StaticString) throws(MessageError) {
        let length = text.utf8CodeUnitCount
        guard at &+ length <= count, unsafe JSONText.matches(base + at, text) else { throw failure() }
        at &+= length
    }

    /// Skips what begins with `byte`, which stands here and opens no container.
    @inline(__always) private mutating func scalar(_ byte: UInt8) throws(MessageError) {
        switch byte {
        case 0x22: _ = try string()
        case 0x74: try word("true")
        case 0x66: try word("false")
        case 0x6e: try word("null")
        default: _ = try number()
        }
    }

    @inline(__always) private func needed() throws(MessageError) -> UInt8 {
        guard at < count else { throw failure() }
        return unsafe base[at]
    }

    /// Skips the value that starts here, whatever it is, inside `depth` open containers.
    @inline(__always) mutating func skipValue(depth: Int) throws(MessageError) {
        let first = try needed()
        if first == 0x7b || first == 0x5b { try skipContainer(first, depth) } else { try scalar(first) }
    }

    @inline(never) private mutating func skipContainer(_ first: UInt8, _ depth: Int) throws(MessageError) {
        var nesting = Nesting()
        var hasMember = try enter(first, depth, &nesting)
        while true {
            if hasMember {
                if nesting.isObject {
                    _ = try string()
                    try takeSpaced(0x3a)
                }
                let byte = try needed()
                if byte == 0x22 {
                    _ = try string()
                } else if byte == 0x7b || byte == 0x5b {
                    hasMember = try enter(byte, depth, &nesting)
                    continue
                } else {
                    try scalar(byte)
                }
            }
            hasMember = true
            // Behind a value, or at the end of an empty container.
            while true {
                skipSpace()
                let byte = try needed()
                if byte == 0x2c {
                    at &+= 1
                    skipSpace()
                    break
                }
                guard byte == (nesting.isObject ? 0x7d : 0x5d) else { throw failure() }
                at &+= 1
                nesting.close()
                if nesting.level == 0 { return }
            }
        }
    }

    /// Enters the container that begins with `bracket`, which stands here.
    /// - Returns: false when it is empty; its end stands here then.
    @inline(__always) private mutating func enter(_ bracket: UInt8, _ depth: Int, _ nesting: inout Nesting) throws(MessageError) -> Bool {
        guard depth &+ nesting.level < Self.maxDepth else { throw failure(.tooDeep, at: at &+ 1) }
        nesting.open(isObject: bracket == 0x7b)
        at &+= 1
        skipSpace()
        return try needed() != (bracket == 0x7b ? 0x7d : 0x5d)
    }

    /// The kinds of the open containers, a bit each, 1 for an object: nesting costs no stack.
    private struct Nesting {
        private(set) var level = 0
        /// Those of the innermost; the last bit is the innermost one.
        private var bits: UInt64 = 0
        /// Full words further out.
        private var outer = InlineArray<8, UInt64>(repeating: 0)

        @inline(__always) var isObject: Bool { bits & 1 == 1 }

        @inline(__always) mutating func open(isObject: Bool) {
            if level & 63 == 0, level > 0 { outer[level >> 6 &- 1] = bits }
            bits = bits << 1 | (isObject ? 1 : 0)
            level &+= 1
        }

        @inline(__always) mutating func close() {
            bits >>= 1
            level &-= 1
            if level & 63 == 0, level > 0 { bits = outer[level >> 6 &- 1] }
        }
    }
}

/// The value of a hexadecimal digit.
@inline(__always) func hexValue(_ byte: UInt8) -> UInt32? {
    switch byte {
    case 0x30...0x39: UInt32(byte - 0x30)
    case 0x41...0x46: UInt32(byte - 0x37)
    case 0x61...0x66: UInt32(byte - 0x57)
    default: nil
    }
}
