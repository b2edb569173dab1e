// Files that are read as a whole: certificates, keys, tokens.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum SmallFile {
    /// Largest file that is read.
    package static let limit = 1 << 20

    /// The content of a regular file. It costs memory for `limit`, for as long as the call lasts.
    /// - Throws: `.openForReading`, or `.read` when it is longer than `limit` or cannot be read.
    package static func read(_ path: String, limit: Int = SmallFile.limit) throws(PipeError) -> [UInt8] {
        let descriptor = try Descriptor.input(path)
        // Room for one byte too many, and no growing: a key must not be left behind in a buffer that was outgrown.
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var length = 0
        while length < bytes.count {
            let count = unsafe bytes.withUnsafeMutableBytes { space in
                unsafe Self.systemRead(descriptor.raw, space.baseAddress?.advanced(by: length), space.count - length)
            }
            if count == 0 { break }
            if count < 0 {
                if CHub_errno() == EINTR { continue }
                throw PipeError(.read, "cannot read \(path)", errno: CHub_errno())
            }
            length += count
        }
        guard length <= limit else { throw PipeError(.read, "\(path) is longer than \(limit) bytes") }
        bytes.removeLast(bytes.count - length)
        return bytes
    }

    private static func systemRead(_ descriptor: Int32, _ target: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
            unsafe Glibc.read(descriptor, target, count)
        #else
            unsafe Musl.read(descriptor, target, count)
        #endif
    }
}
