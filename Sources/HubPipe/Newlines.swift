// Where lines end.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

enum Newlines {
    /// The position behind the first newline.
    static func end(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let base = bytes.baseAddress, let found = unsafe memchr(base, 0x0a, bytes.count) else { return nil }
        return unsafe UnsafeRawPointer(found) - base + 1
    }

    static func count(_ bytes: UnsafeRawBufferPointer) -> Int {
        var count = 0
        var left = unsafe bytes
        while let end = unsafe end(left) {
            count += 1
            unsafe left = UnsafeRawBufferPointer(rebasing: left[end...])
        }
        return count
    }
}
