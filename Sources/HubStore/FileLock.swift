// One server per state file: a lock on a file beside it, which ends with the process.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The lock `<state file>-lock`, held as long as the value lives. The file itself stays.
struct FileLock: ~Copyable {
    private let descriptor: Int32

    private init(adopting descriptor: Int32) { self.descriptor = descriptor }

    deinit { _ = close(descriptor) }

    /// Takes the lock, trying for `patience` microseconds: a process that was just killed may still hold it.
    static func take(_ path: String, patience: Int = 2_000_000) throws(StoreError) -> FileLock {
        let raw = unsafe open(path + "-lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw failure("cannot lock \(path)", errno) }
        let lock = FileLock(adopting: raw)
        var left = patience
        while flock(raw, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw failure("cannot lock \(path)", errno) }
            guard left > 0 else { throw StoreError(.inUse, "\(path) is in use by another hub-queue") }
            _ = usleep(20_000)
            left -= 20_000
        }
        return lock
    }

    /// Somebody serves from `path`.
    static func isTaken(_ path: String) -> Bool {
        let raw = unsafe open(path + "-lock", O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { return false }
        let lock = FileLock(adopting: raw)
        return flock(lock.descriptor, LOCK_SH | LOCK_NB) != 0
    }

    private static func failure(_ what: String, _ errno: Int32) -> StoreError {
        let code: StoreError.Code = errno == EACCES || errno == EPERM || errno == EROFS ? .permission : .open
        return StoreError(code, unsafe "\(what): \(String(cString: strerror(errno)))")
    }

    /// Makes `path` if it is not there, readable by its owner only.
    static func create(_ path: String) throws(StoreError) {
        let raw = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw failure("cannot open \(path)", errno) }
        _ = close(raw)
    }
}
