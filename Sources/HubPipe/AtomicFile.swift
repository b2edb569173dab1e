// Small files that others read while they are written: a new file takes the old one's place by rename.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum AtomicFile {
    /// Replaces the file at `path`; a reader sees the old or the new content, never a part.
    /// - Parameter mode: permission bits of the file.
    /// - Parameter isDurable: the file and its name are on the disk when the call returns.
    /// - Parameter belongsToDirectory: written by root, the file belongs to the owner of its directory, not to root.
    package static func write(
        _ bytes: [UInt8], to path: String, mode: UInt32 = 0o644, isDurable: Bool = false, belongsToDirectory: Bool = false
    ) throws(PipeError) {
        let temporary = "\(path).\(getpid()).tmp"
        _ = unsafe unlink(temporary)
        let raw = unsafe CHub_open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode)
        guard raw >= 0 else { throw PipeError(.create, "cannot create \(temporary)", errno: CHub_errno()) }
        if belongsToDirectory { giveToOwnerOfDirectory(raw, path) }
        var left = bytes[...]
        while !left.isEmpty {
            guard let count = RawDescriptor.writeSome(raw, left) else {
                let failure = CHub_errno()
                _ = close(raw)
                _ = unsafe unlink(temporary)
                throw PipeError(.write, "cannot write \(temporary)", errno: failure)
            }
            left = left.dropFirst(count)
        }
        if isDurable, fsync(raw) != 0 {
            let failure = CHub_errno()
            _ = close(raw)
            _ = unsafe unlink(temporary)
            throw PipeError(.write, "cannot write \(temporary)", errno: failure)
        }
        _ = close(raw)
        guard unsafe rename(temporary, path) == 0 else {
            let failure = CHub_errno()
            _ = unsafe unlink(temporary)
            throw PipeError(.create, "cannot replace \(path)", errno: failure)
        }
        if isDurable { syncDirectory(of: path) }
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    /// Gives the open file at `path` to the owner of its directory. Does nothing unless this is root.
    package static func giveToOwnerOfDirectory(_ raw: Int32, _ path: String) {
        var status = stat()
        guard geteuid() == 0, unsafe stat(directory(of: path), &status) == 0 else { return }
        _ = fchown(raw, status.st_uid, status.st_gid)
    }

    /// Some file systems cannot sync a directory; then the name is as durable as they make it.
    private static func syncDirectory(of path: String) {
        let raw = unsafe CHub_open(directory(of: path), O_RDONLY | O_DIRECTORY, 0)
        guard raw >= 0 else { return }
        _ = fsync(raw)
        _ = close(raw)
    }
}
