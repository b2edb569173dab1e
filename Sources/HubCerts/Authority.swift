// The certificate authority: its certificate, its key, and what they sign.

package import HubTLS

/// An authority whose certificate and key belong together. Values of it may be used by several threads.
package struct Authority: Sendable {
    /// A clock at an edge may be behind by as much, in seconds.
    static let clockSkew: Int64 = 300
    static let secondsPerDay: Int64 = 86_400
    /// KubeEdge's "100 years": pkg/security/certs, `NewSelfSigned`.
    static let lifetimeDays: Int64 = 364 * 100

    package let certificate: Certificate
    package let tokens: JoinTokens
    private let key: PrivateKey

    /// - Throws: `.keyMismatch` when the key is another's; `.certificate` when the certificate may not sign.
    package init(certificate: Certificate, key: PrivateKey) throws(TLSError) {
        guard certificate.belongs(to: key) else {
            throw TLSError(.keyMismatch, "the key does not belong to the certificate")
        }
        guard certificate.isAuthority else { throw TLSError(.certificate, "the certificate is not that of an authority") }
        self.certificate = certificate
        self.key = key
        tokens = try JoinTokens(authority: certificate, key: key.block.der)
    }

    /// A new authority for `key`.
    /// - Parameter now: seconds since 1970.
    package static func make(key: PrivateKey, now: Int64) throws(TLSError) -> Authority {
        let template = CertificateTemplate(
            .authority, subject: [NameAttribute(.organization, "hub"), NameAttribute(.commonName, "hub CA")], notBefore: now - clockSkew,
            notAfter: now - clockSkew + lifetimeDays * secondsPerDay)
        return try Authority(certificate: try template.selfSigned(key), key: key)
    }

    /// A certificate for `names`, usable by a server.
    package func serverCertificate(names: [SubjectName], key: PublicKey, days: Int64, now: Int64) throws(TLSError) -> Certificate {
        try sign(.server, [NameAttribute(.organization, "hub"), NameAttribute(.commonName, Self.serverName)], names, key, days, now)
    }

    /// The common name of server certificates that were made here.
    static let serverName = "hub"

    /// The certificate of node `node`, usable by a client and for nothing else.
    package func nodeCertificate(node: String, key: PublicKey, days: Int64, now: Int64) throws(TLSError) -> Certificate {
        try sign(.client, .node(node), [], key, days, now)
    }

    /// Nothing outlives the authority.
    private func sign(
        _ role: CertificateTemplate.Role, _ subject: [NameAttribute], _ names: [SubjectName], _ key: PublicKey, _ days: Int64, _ now: Int64
    ) throws(TLSError) -> Certificate {
        let notBefore = now - Self.clockSkew
        let notAfter = min(notBefore + days * Self.secondsPerDay, certificate.notAfter ?? .max)
        guard notAfter > now else { throw TLSError(.certificate, "the authority has expired") }
        let template = CertificateTemplate(role, subject: subject, names: names, notBefore: notBefore, notAfter: notAfter)
        return try template.signed(for: key, by: certificate, self.key)
    }
}
