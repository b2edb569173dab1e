// A strict reader for small JSON objects whose members are scalars: token claims, task reports, records of issued certificates.
// Objects and arrays as values are refused; so is a repeated key, also one that differs only in the case of its letters, because
// Go's decoder, which reads what is passed on, takes such keys for the same.

/// A JSON object without nesting.
package struct FlatJSON: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        case string(String)
        /// As it was written.
        case number(String)
        case bool(Bool)
        case null
    }

    package private(set) var members: [(name: String, value: Value)] = []

    /// - Returns: nil when `bytes` is no such object in UTF-8, with nothing but white space around it.
    package init?(_ bytes: some Collection<UInt8>) {
        let copy = Array(bytes)
        guard String(validating: copy, as: UTF8.self) != nil else { return nil }
        var reader = Reader(bytes: copy)
        guard reader.object(into: &members), reader.isAtEnd else { return nil }
        var names: Set<String> = []
        for member in members where !names.insert(member.name.lowercased()).inserted { return nil }
    }

    package static func == (left: FlatJSON, right: FlatJSON) -> Bool {
        left.members.elementsEqual(right.members) { $0.name == $1.name && $0.value == $1.value }
    }

    package subscript(name: String) -> Value? {
        members.first { $0.name == name }?.value
    }

    /// The value of a member that is a string.
    package func text(_ name: String) -> String? {
        guard case .string(let value)? = self[name] else { return nil }
        return value
    }

    /// The value of a member that is a whole number in the range of 64 bits.
    package func integer(_ name: String) -> Int64? {
        guard case .number(let digits)? = self[name] else { return nil }
        return Int64(digits)
    }

    /// The member that Go's decoder would put into a field called `name`.
    package func goField(_ name: String) -> Value? {
        self[name] ?? members.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}

private struct Reader {
    let bytes: [UInt8]
    var at = 0

    var isAtEnd: Bool {
        mutating get {
            skipSpace()
            return at == bytes.count
        }
    }

    private var current: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        while let byte = current, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { at += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard current == byte else { return false }
        at += 1
        return true
    }

    mutating func object(into members: inout [(name: String, value: FlatJSON.Value)]) -> Bool {
        guard take(0x7b) else { return false }
        if take(0x7d) { return true }
        repeat {
            skipSpace()
            guard let name = string(), take(0x3a), let value = value() else { return false }
            members.append((name, value))
        } while take(0x2c)
        return take(0x7d)
    }

    private mutating func value() -> FlatJSON.Value? {
        skipSpace()
        switch current {
        case 0x22: return string().map { .string($0) }
        case 0x74: return word("true") ? .bool(true) : nil
        case 0x66: return word("false") ? .bool(false) : nil
        case 0x6e: return word("null") ? .null : nil
        default: return number().map { .number($0) }
        }
    }

    private mutating func word(_ text: String) -> Bool {
        guard bytes[at...].starts(with: text.utf8) else { return false }
        at += text.utf8.count
        return true
    }

    private mutating func string() -> String? {
        guard current == 0x22 else { return nil }
        at += 1
        let start = at
        while let byte = current {
            switch byte {
            case 0x22:
                let raw = bytes[start..<at]
                at += 1
                return unsafe raw.withUnsafeBytes { unsafe String(decoding: JSONText.unescape($0), as: UTF8.self) }
            case 0x5c:
                guard at + 1 < bytes.count else { return nil }
                switch bytes[at + 1] {
                case 0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74: at += 2
                case 0x75:
                    guard at + 5 < bytes.count, bytes[(at + 2)...(at + 5)].allSatisfy(Self.isHexDigit) else { return nil }
                    at += 6
                default: return nil
                }
            case ..<0x20: return nil
            default: at += 1
            }
        }
        return nil
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
        default: false
        }
    }

    private mutating func number() -> String? {
        let start = at
        if current == 0x2d { at += 1 }
        if current == 0x30 { at += 1 } else if !digits() { return nil }
        if current == 0x2e {
            at += 1
            if !digits() { return nil }
        }
        if current == 0x65 || current == 0x45 {
            at += 1
            if current == 0x2b || current == 0x2d { at += 1 }
            if !digits() { return nil }
        }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private mutating func digits() -> Bool {
        let start = at
        while let byte = current, (0x30...0x39).contains(byte) { at += 1 }
        return at > start
    }
}
