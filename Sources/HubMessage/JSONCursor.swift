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
        while at < count {
            switch unsafe base[at] {
            case 0x20, 0x09, 0x0a, 0x0d: at += 1
            default: return
            }
        }
    }

    /// Takes `expected`, which must stand here.
    @inline(__always) mutating func take(_ expected: UInt8) throws(MessageError) {
        guard at < count, unsafe base[at] == expected else { throw failure() }
        at += 1
    }

    /// Takes `wanted` if it stands here.
    @inline(__always) mutating func takeIf(_ wanted: UInt8) -> Bool {
        guard at < count, unsafe base[at] == wanted else { return false }
        at += 1
        return true
    }

    func failure(_ code: MessageError.Code = .notJSON, _ member: String = "") -> MessageError {
        MessageError(code, at: min(at, count), member)
    }

    // MARK: Strings

    /// Skips the string that starts here and returns its inside.
    @inline(__always) mutating func string() throws(MessageError) -> Field {
        try take(0x22)
        let start = at
        var isEscaped = false
        while true {
            skipPlain()
            guard at < count else { throw failure() }
            let byte = unsafe base[at]
            switch byte {
            case 0x22:
                at += 1
                return Field(start: start, end: at - 1, isEscaped: isEscaped)
            case 0x5c:
                isEscaped = true
                try escape()
            case 0x80...: try multibyte(byte)
            case ..<0x20: throw failure()
            default: at += 1
            }
        }
    }

    /// Skips bytes that are plain inside a string, eight at a time.
    @inline(__always) private mutating func skipPlain() {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        while at &+ 8 <= count {
            let word = unsafe UInt64(littleEndian: UnsafeRawPointer(base + at).loadUnaligned(as: UInt64.self))
            let quote = word ^ (ones &* 0x22)
            let backslash = word ^ (ones &* 0x5c)
            // Each term sets the high bit of a byte that ends the run; a false hit can only follow a true one.
            let hit =
                ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | ((word &- (ones &* 0x20)) & ~word) | word
            let mask = hit & highs
            if mask != 0 {
                at &+= mask.trailingZeroBitCount >> 3
                return
            }
            at &+= 8
        }
        while at < count {
            let byte = unsafe base[at]
            if byte == 0x22 || byte == 0x5c || byte < 0x20 || byte >= 0x80 { return }
            at &+= 1
        }
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
    mutating func number() throws(MessageError) -> Field {
        let start = at
        _ = takeIf(0x2d)
        if !takeIf(0x30) {
            try digits()
        }
        if takeIf(0x2e) {
            try digits()
        }
        if let byte = current, byte | 0x20 == 0x65 {
            at += 1
            if !takeIf(0x2b) { _ = takeIf(0x2d) }
            try digits()
        }
        return Field(start: start, end: at)
    }

    private mutating func digits() throws(MessageError) {
        let start = at
        while let byte = current, byte &- 0x30 < 10 { at += 1 }
        guard at > start else { throw failure() }
    }

    /// Takes `true`, `false` or `null`, written out.
    mutating func word(_ text: StaticString) throws(MessageError) {
        let length = text.utf8CodeUnitCount
        guard at + length <= count else { throw failure() }
        for index in 0..<length {
            guard unsafe base[at + index] == text.utf8Start[index] else { throw failure() }
        }
        at += length
    }

    /// Skips one scalar or opens one container.
    /// - Returns: the opening bracket when a container begins, 0 after a scalar.
    @inline(__always) private mutating func scalarOrOpen() throws(MessageError) -> UInt8 {
        guard let byte = current else { throw failure() }
        switch byte {
        case 0x22: _ = try string()
        case 0x7b, 0x5b:
            at += 1
            return byte
        case 0x74: try word("true")
        case 0x66: try word("false")
        case 0x6e: try word("null")
        default: _ = try number()
        }
        return 0
    }

    /// Skips the value that starts here, whatever it is, inside `depth` open containers.
    mutating func skipValue(depth: Int) throws(MessageError) {
        let opened = try scalarOrOpen()
        guard opened != 0 else { return }
        // One bit per open container, 1 for an object: nesting costs no stack.
        var stack = InlineArray<8, UInt64>(repeating: 0)
        var level = depth
        func push(_ bracket: UInt8) throws(MessageError) {
            guard level < Self.maxDepth else { throw failure(.tooDeep) }
            let bit: UInt64 = 1 << UInt64(level & 63)
            if bracket == 0x7b { stack[level >> 6] |= bit } else { stack[level >> 6] &= ~bit }
            level += 1
        }
        try push(opened)
        var isFirst = true
        while level > depth {
            skipSpace()
            let inObject = stack[(level - 1) >> 6] >> UInt64((level - 1) & 63) & 1 == 1
            if takeIf(inObject ? 0x7d : 0x5d) {
                level -= 1
                isFirst = false
                continue
            }
            if !isFirst {
                try take(0x2c)
                skipSpace()
            }
            if inObject {
                _ = try string()
                skipSpace()
                try take(0x3a)
                skipSpace()
            }
            let bracket = try scalarOrOpen()
            isFirst = bracket != 0
            if bracket != 0 { try push(bracket) }
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
