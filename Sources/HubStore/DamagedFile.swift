// A state file that cannot be used is moved out of the way, whole, never deleted and never overwritten.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

enum DamagedFile {
    /// Gives the database at `path` the name `<path>.damaged-<seconds since 1970>`, and its log the matching one, so that SQLite still
    /// finds the two together. The caller holds the file's lock, and has no connection to it.
    /// - Returns: the new path of the database.
    static func setAside(_ path: String) throws(StoreError) -> String {
        let stem = "\(path).damaged-\(time(nil))"
        var target = stem
        var number = 1
        while unsafe access(target, F_OK) == 0 {
            number += 1
            target = "\(stem)-\(number)"
        }
        // The log goes first: left behind, it would be taken for the log of the new database.
        for part in ["-wal", "-shm", ""] {
            guard unsafe rename(path + part, target + part) != 0, errno != ENOENT || part.isEmpty else { continue }
            let code: StoreError.Code = errno == EACCES || errno == EPERM || errno == EROFS ? .permission : .open
            throw StoreError(code, unsafe "cannot set aside \(path + part): \(String(cString: strerror(errno)))")
        }
        return target
    }
}
