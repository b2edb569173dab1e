// Who may write to the directory.

internal import HubPipe

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

extension CertificateStore {
    /// Checks that this process can write what `serve` writes. It has just become `user`, and a request would be the first to notice.
    /// - Throws: `.permission`.
    package func checkWritable(as user: String) throws(CertsError) {
        guard unsafe access(directory, R_OK | W_OK | X_OK) == 0 else {
            throw CertsError(
                .permission, "the directory \(directory) must belong to the user \(user), who writes there: chown -R \(user) \(directory)")
        }
        for file in [File.issued, .token, .lock] where unsafe access(path(file), F_OK) == 0 {
            guard unsafe access(path(file), R_OK | W_OK) == 0 else {
                throw CertsError(.permission, "\(path(file)) must belong to the user \(user), who writes it: chown \(user) \(path(file))")
            }
        }
    }
}
