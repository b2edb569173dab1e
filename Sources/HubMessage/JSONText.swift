// JSON strings: resolving and writing escapes, and comparing bytes.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

@usableFromInline package enum JSONText {
    /// Equality of bytes with an ASCII literal.
    @inlinable @inline(__always) package static func equal(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        guard let base = bytes.baseAddress else { return true }
        return unsafe matches(base, text)
    }

    /// The literal stands at `base`, where there are at least as many bytes. Words are compared, the last one overlapping the one
    /// before; the compiler knows the literal, so nothing is called.
    @inlinable @inline(__always) package static func matches(_ base: UnsafeRawPointer, _ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        let other = unsafe UnsafeRawPointer(text.utf8Start)
        func same<Word: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: Word.Type) -> Bool {
            unsafe base.loadUnaligned(fromByteOffset: offset, as: Word.self) == other.loadUnaligned(fromByteOffset: offset, as: Word.self)
        }
        if count >= 8 {
            var at = 0
            while at &+ 8 < count {
                if !same(at, UInt64.self) { return false }
                at &+= 8
            }
            return same(count &- 8, UInt64.self)
        }
        if count >= 4 { return same(0, UInt32.self) && same(count &- 4, UInt32.self) }
        if count >= 2 { return same(0, UInt16.self) && same(count &- 2, UInt16.self) }
        return count == 0 || same(0, UInt8.self)
    }

    /// Equality of two byte ranges.
    @inline(__always) package static func equal(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let base = left.baseAddress, let other = right.baseAddress else { return true }
        return unsafe memcmp(base, other, left.count) == 0
    }

    /// The value of the inside of a checked JSON string. A surrogate without its partner becomes U+FFFD, as in Go's encoding/json.
    package static func unescape(_ raw: UnsafeRawBufferPointer) -> [UInt8] {
        var value: [UInt8] = []
        value.reserveCapacity(raw.count)
        var at = 0
        while at < raw.count {
            at += unsafe appendNext(raw, at, to: &value)
        }
        return value
    }

    /// The position in `raw`, the inside of a checked string, at which the value's byte `offset` begins.
    package static func rawOffset(_ raw: UnsafeRawBufferPointer, ofValueOffset offset: Int) -> Int {
        var value: [UInt8] = []
        var at = 0
        var passed = 0
        while passed < offset && at < raw.count {
            value.removeAll(keepingCapacity: true)
            at += unsafe appendNext(raw, at, to: &value)
            passed += value.count
        }
        return at
    }

    /// Appends the value of the character or escape at `at`, and returns how many raw bytes it takes.
    private static func appendNext(_ raw: UnsafeRawBufferPointer, _ at: Int, to value: inout [UInt8]) -> Int {
        guard unsafe raw[at] == 0x5c, at + 1 < raw.count else {
            unsafe value.append(raw[at])
            return 1
        }
        switch unsafe raw[at + 1] {
        case 0x62: value.append(0x08)
        case 0x66: value.append(0x0c)
        case 0x6e: value.append(0x0a)
        case 0x72: value.append(0x0d)
        case 0x74: value.append(0x09)
        case 0x75:
            let unit = unsafe codeUnit(raw, at)
            if unit & 0xfc00 == 0xd800, at + 7 < raw.count, unsafe raw[at + 6] == 0x5c, unsafe raw[at + 7] == 0x75 {
                let low = unsafe codeUnit(raw, at + 6)
                if low & 0xfc00 == 0xdc00 {
                    append(0x10000 + (unit & 0x3ff) << 10 + low & 0x3ff, to: &value)
                    return 12
                }
            }
            append(unit, to: &value)
            return 6
        default: unsafe value.append(raw[at + 1])
        }
        return 2
    }

    private static func codeUnit(_ raw: UnsafeRawBufferPointer, _ at: Int) -> UInt32 {
        var unit: UInt32 = 0
        for index in at + 2..<min(at + 6, raw.count) {
            unit = unsafe unit << 4 | (hexValue(raw[index]) ?? 0)
        }
        return unit
    }

    private static func append(_ scalar: UInt32, to value: inout [UInt8]) {
        value.append(contentsOf: Array(String(Unicode.Scalar(scalar) ?? "\u{fffd}").utf8))
    }

    /// Appends `value` as a JSON string with its quotes.
    package static func appendString(_ value: some Sequence<UInt8>, to output: inout [UInt8]) {
        output.append(0x22)
        for byte in value {
            switch byte {
            case 0x22, 0x5c:
                output.append(0x5c)
                output.append(byte)
            case ..<0x20:
                output.append(contentsOf: [0x5c, 0x75, 0x30, 0x30, hexDigit(byte >> 4), hexDigit(byte & 15)])
            default: output.append(byte)
            }
        }
        output.append(0x22)
    }

    /// Bytes that one byte of a string's value may take.
    package static let mostQuoted = 6

    /// The same behind an output.
    package static func appendString(_ value: UnsafeRawBufferPointer, to tail: inout ByteTail) {
        var text: [UInt8] = []
        unsafe appendString(value, to: &text)
        unsafe text.withUnsafeBytes { unsafe tail.append($0) }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}

extension [UInt8] {
    /// Appends an ASCII literal.
    @inline(__always) package mutating func append(_ text: StaticString) {
        unsafe append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends a decimal number.
    package mutating func append(decimal number: Int64) {
        append(atMost: ByteTail.longestNumber) { $0.append(decimal: number) }
    }
}
