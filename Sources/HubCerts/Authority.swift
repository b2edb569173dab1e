// The certificate authority: its certificate, its key, and what they sign.

package import HubTLS

/// An authority whose certificate and key belong together. Values of it may be used by several threads.
package struct Authority: Sendable {
    /// How long before its making a node's certificate begins, in seconds. Only hubs look at it, and their clocks agree within minutes.
    static let clockSkew: Int64 = 300
    /// The same for certificates that edges verify, CA and server: an edge without a clock of its own, or with the wrong time zone, may be
    /// behind by most of a day. (CloudCore's begin at the second of their making.)
    static let edgeClockSkew: Int64 = 86_400
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
    ///
    /// - Parameter name: the common name; a successor has another one than its predecessor, so that a chain is found by names alone.
    /// - Parameter now: seconds since 1970.
    package static func make(key: PrivateKey, name: String = "hub CA", now: Int64) throws(TLSError) -> Authority {
        let start = now - edgeClockSkew
        let template = CertificateTemplate(
            .authority, subject: [NameAttribute(.organization, organization), NameAttribute(.commonName, name)], notBefore: start,
            notAfter: start + lifetimeDays * secondsPerDay)
        return try Authority(certificate: try template.selfSigned(key), key: key)
    }

    /// A certificate for `names`, usable by a server.
    package func serverCertificate(names: [SubjectName], key: PublicKey, days: Int64, now: Int64) throws(TLSError) -> Certificate {
        let subject = [NameAttribute(.organization, Self.organization), NameAttribute(.commonName, Self.serverName)]
        return try sign(.server, subject, names, key, days, from: now - Self.edgeClockSkew, now)
    }

    /// A certificate for the key and the name of `successor`: whoever trusts this authority alone accepts what the successor signs, if the
    /// certificate comes with it.
    package func crossCertificate(for successor: Certificate, now: Int64) throws(TLSError) -> Certificate {
        try sign(
            .authority, successor.subject, [], try successor.publicKey, Self.lifetimeDays, from: now - Self.edgeClockSkew, now)
    }

    /// The organization of what is made here for the hub itself.
    static let organization = "hub"
    /// The common name of server certificates that were made here.
    static let serverName = "hub"

    /// The certificate of node `node`, usable by a client and for nothing else.
    ///
    /// - Parameter after: the certificate begins later than this second; what began until then is revoked.
    package func nodeCertificate(
        node: String, key: PublicKey, days: Int64, now: Int64, after: Int64? = nil
    ) throws(TLSError) -> Certificate {
        let usual = now - Self.clockSkew
        return try sign(.client, .node(node), [], key, days, from: after.map { max(usual, $0 + 1) } ?? usual, now)
    }

    /// Nothing outlives the authority.
    private func sign(
        _ role: CertificateTemplate.Role, _ subject: [NameAttribute], _ names: [SubjectName], _ key: PublicKey, _ days: Int64,
        from notBefore: Int64, _ now: Int64
    ) throws(TLSError) -> Certificate {
        let notAfter = min(notBefore + days * Self.secondsPerDay, certificate.notAfter ?? .max)
        guard notAfter > now else { throw TLSError(.certificate, "the authority has expired") }
        let template = CertificateTemplate(role, subject: subject, names: names, notBefore: notBefore, notAfter: notAfter)
        return try template.signed(for: key, by: certificate, self.key)
    }
}
