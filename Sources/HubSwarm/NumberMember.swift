// Finding one number in the content of a message without reading the rest.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum NumberMember {
    /// The first non-negative integer that follows `"<name>":` in `bytes`, as a number or as a string of digits; nil without one.
    ///
    /// It is a byte search, not a parser: it also finds the member of a nested object, and only the form without space before the
    /// colon, which Go's and this project's writers use.
    package static func find(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Int64? {
        guard let base = bytes.baseAddress else { return nil }
        let length = name.utf8CodeUnitCount
        var from = 0
        // Colons are rare in padding, and memchr is fast.
        while from < bytes.count, let found = unsafe memchr(base + from, 0x3a, bytes.count - from) {
            let colon = unsafe base.distance(to: UnsafeRawPointer(found))
            from = colon + 1
            guard colon >= length + 2, unsafe bytes[colon - 1] == 0x22, unsafe bytes[colon - length - 2] == 0x22,
                unsafe memcmp(base + (colon - length - 1), name.utf8Start, length) == 0
            else { continue }
            if let number = unsafe integer(bytes, from) { return number }
        }
        return nil
    }

    private static func integer(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> Int64? {
        var at = start
        while at < bytes.count, unsafe bytes[at] == 0x20 { at += 1 }
        if at < bytes.count, unsafe bytes[at] == 0x22 { at += 1 }
        var value: Int64 = 0
        let first = at
        while at < bytes.count, at - first < 18 {
            let digit = unsafe bytes[at] &- 0x30
            guard digit < 10 else { break }
            value = value * 10 + Int64(digit)
            at += 1
        }
        return at > first ? value : nil
    }
}
