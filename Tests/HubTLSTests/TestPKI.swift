// An authority with a server and a node, made during the run.

internal import HubTLS

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

struct TestPKI: Sendable {
    let authority: [UInt8]
    let hub: TLSIdentity
    let edge: TLSIdentity

    init() throws(TLSError) {
        let now = Int64(time(nil))
        let key = try PrivateKey.generate()
        func template(_ role: CertificateTemplate.Role, _ subject: [NameAttribute], _ names: [SubjectName] = []) -> CertificateTemplate {
            CertificateTemplate(role, subject: subject, names: names, notBefore: now - 3600, notAfter: now + 3600)
        }
        let root = try template(.authority, [NameAttribute(.commonName, "KubeEdge")]).selfSigned(key)
        func identity(_ template: CertificateTemplate) throws(TLSError) -> TLSIdentity {
            let own = try PrivateKey.generate()
            let certificate = try template.signed(for: own.publicKey, by: root, key)
            return try TLSIdentity(certificates: try certificate.pem, privateKey: try own.pem)
        }
        authority = try root.pem
        let names = [SubjectName.dns("hub.example")] + (SubjectName.address(parsing: "127.0.0.1").map { [$0] } ?? [])
        hub = try identity(template(.server, [NameAttribute(.commonName, "hub")], names))
        edge = try identity(template(.client, [NameAttribute].node("edge-0")))
    }

    func serverContext(_ mode: TLSServerSettings.ClientCertificate = .required) throws(TLSError) -> TLSContext {
        try TLSContext.server(TLSServerSettings(identity: hub, clientAuthorities: authority, clientCertificate: mode))
    }

    func clientContext(identity: TLSIdentity? = nil) throws(TLSError) -> TLSContext {
        try TLSContext.client(authorities: authority, identity: identity)
    }
}
