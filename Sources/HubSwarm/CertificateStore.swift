// Where the CA and the nodes' certificates stay between runs: `rootCA.crt`, `<node>.crt` and `<node>.key`, in PEM.

internal import HubPipe
package import HubTLS

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package struct CertificateStore: Sendable {
    /// Nil keeps nothing.
    private let directory: String?

    /// A certificate that ends sooner is replaced, in seconds.
    private static let remainder: Int64 = 3600
    private static let maxFile = 1 << 20

    /// Creates `directory` with mode 0700 unless it is there.
    package init(_ directory: String?) throws(SwarmError) {
        self.directory = directory
        guard let directory else { return }
        guard unsafe mkdir(directory, 0o700) != 0 else { return }
        let failure = errno
        guard failure == EEXIST else { throw SwarmError(.file, "cannot create \(directory): \(systemText(failure))") }
    }

    /// The CA that an earlier run kept; nil when there is none.
    package func loadAuthority() throws(SwarmError) -> Certificate? {
        guard let text = try read("rootCA.crt") else { return nil }
        do throws(TLSError) {
            return try Certificate.read(pem: text)
        } catch {
            throw SwarmError(.certificate, "rootCA.crt: \(error.detail)")
        }
    }

    package func save(authority: Certificate) throws(SwarmError) {
        try write("rootCA.crt") { () throws(TLSError) in try authority.pem }
    }

    /// The identity of a node that an earlier run kept.
    /// - Returns: nil when there is none, when it ends within the hour, or when it is not from `authority`.
    package func load(_ node: String, authority: Certificate) throws(SwarmError) -> TLSIdentity? {
        guard let certificate = try read("\(node).crt"), let key = try read("\(node).key") else { return nil }
        return try? Self.identity(certificate: certificate, key: key, node: node, authority: authority)
    }

    package func save(_ node: String, certificate: Certificate, key: PrivateKey) throws(SwarmError) {
        try write("\(node).key") { () throws(TLSError) in try key.pem }
        try write("\(node).crt") { () throws(TLSError) in try certificate.pem }
    }

    private static func identity(
        certificate: [UInt8], key: [UInt8], node: String, authority: Certificate
    ) throws(TLSError) -> TLSIdentity? {
        let parsed = try Certificate.read(pem: certificate)
        try parsed.verify(issuedBy: authority, purpose: .client)
        guard parsed.subject.values(.commonName) == ["system:node:\(node)"] else { return nil }
        guard let end = parsed.notAfter, end > wallMicroseconds() / 1_000_000 + remainder else { return nil }
        return try TLSIdentity(certificates: certificate, privateKey: key)
    }

    private func read(_ name: String) throws(SwarmError) -> [UInt8]? {
        guard let directory else { return nil }
        do throws(PipeError) {
            return try Descriptor.contents(of: "\(directory)/\(name)", limit: Self.maxFile)
        } catch {
            if error.errno == ENOENT { return nil }
            throw SwarmError(.file, error.description)
        }
    }

    private func write(_ name: String, _ content: () throws(TLSError) -> [UInt8]) throws(SwarmError) {
        guard let directory else { return }
        let bytes: [UInt8]
        do throws(TLSError) { bytes = try content() } catch { throw SwarmError(.certificate, error.description) }
        do throws(PipeError) {
            try AtomicFile.write(bytes, to: "\(directory)/\(name)", mode: 0o600)
        } catch {
            throw SwarmError(.file, error.description)
        }
    }
}
