// SQLite's log, made at its usual length beforehand: a commit that makes a file longer waits for the file system's own journal, which
// takes milliseconds; one that overwrites a part of it takes tenths of them.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

enum LogFile {
    /// A little more than the pages after which the log is written back and begins anew.
    static let usualLength = 10 << 20

    /// Fills the log of `database` with zeros up to its usual length. To SQLite they are what lies behind the end of the log.
    ///
    /// Only the process that writes the database may do this. Without the room for it the log grows as it must.
    static func extend(_ database: String) {
        let raw = unsafe open(database + "-wal", O_WRONLY | O_CLOEXEC)
        guard raw >= 0 else { return }
        defer { _ = close(raw) }
        var at = Int(lseek(raw, 0, SEEK_END))
        guard at >= 0, at < usualLength else { return }
        let start = at
        let zeros = [UInt8](repeating: 0, count: 256 << 10)
        while at < usualLength {
            let count = unsafe zeros.withUnsafeBytes { unsafe pwrite(raw, $0.baseAddress, min($0.count, usualLength - at), off_t(at)) }
            guard count > 0 else {
                // The disk is nearly full: its last room is for messages.
                _ = ftruncate(raw, off_t(start))
                return
            }
            at += count
        }
        _ = fsync(raw)
    }
}
