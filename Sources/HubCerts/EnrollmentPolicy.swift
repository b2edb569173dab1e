// Which certificate requests are signed (design: "hub-certs"). KubeEdge signs any subject, any SAN and any usage that a token holder or
// another node asks for.
//
// EdgeCore (edge/pkg/edgehub/certificate, `GetEdgeCert`) puts C=CN, ST=Zhejiang and L=Hangzhou beside CN and O. Those three are
// accepted, once each, and never become part of the certificate. The same goes for requested extensions.

internal import HubMessage
package import HubTLS

package enum EnrollmentPolicy {
    /// Why a request is not signed.
    package enum Refusal: Error, Sendable, Equatable {
        case nodeName
        case malformed
        case signature
        case weakKey(String)
        case subject(String)

        /// The HTTP status.
        package var status: Int {
            switch self {
            case .nodeName, .malformed, .signature, .weakKey: 400
            case .subject: 403
            }
        }

        package var text: String {
            switch self {
            case .nodeName: "the header NodeName does not hold the name of a node"
            case .malformed: "the body is not a certificate request"
            case .signature: "the signature of the certificate request does not verify"
            case .weakKey(let what): "the key is not accepted: \(what)"
            case .subject(let what): "the subject is not that of the node: \(what)"
            }
        }
    }

    /// RSA keys shorter than this are weak; longer than the other one they cost too much.
    static let rsaBits = 2048...8192
    static let curves: Set<String> = ["prime256v1", "P-256", "secp384r1", "P-384", "secp521r1", "P-521"]

    /// Examines a request of `node`. The cheap checks come before the signature.
    ///
    /// - Returns: the key to be certified.
    package static func examine(_ request: [UInt8], node: String) throws(Refusal) -> PublicKey {
        guard NodeName.isValid(Array(node.utf8)) else { throw .nodeName }
        let parsed: CertificateRequest
        do throws(TLSError) {
            parsed = try CertificateRequest.read(der: request)
        } catch {
            throw .malformed
        }
        try check(parsed.subject, node)
        guard let key = parsed.publicKey else { throw .weakKey("unknown algorithm") }
        try check(key)
        guard parsed.isSignatureValid else { throw .signature }
        return key
    }

    private static func check(_ subject: [NameAttribute], _ node: String) throws(Refusal) {
        let commonNames = subject.filter { $0.kind == .commonName }
        let organizations = subject.filter { $0.kind == .organization }
        guard commonNames.count == 1, commonNames[0].says("system:node:\(node)") else {
            throw .subject("CN must be system:node:<NodeName>, once")
        }
        guard organizations.count == 1, organizations[0].says("system:nodes") else {
            throw .subject("O must be system:nodes, once")
        }
        var seen: [NameAttributeKind] = []
        for attribute in subject {
            switch attribute.kind {
            case .commonName, .organization: continue
            case .country, .province, .locality:
                guard !seen.contains(attribute.kind) else { throw .subject("an attribute is repeated") }
                seen.append(attribute.kind)
            case .other(let identifier): throw .subject("unexpected attribute \(identifier)")
            }
        }
    }

    private static func check(_ key: PublicKey) throws(Refusal) {
        switch key.kind {
        case .rsa(let bits):
            guard bits >= rsaBits.lowerBound else { throw .weakKey("RSA with fewer than \(rsaBits.lowerBound) bits") }
            guard bits <= rsaBits.upperBound else { throw .weakKey("RSA with more than \(rsaBits.upperBound) bits") }
        case .curve(let name):
            guard curves.contains(name) else { throw .weakKey("curve \(name)") }
        case .other(let what):
            throw .weakKey(what)
        }
        guard key.isSound else { throw .weakKey("not a sound key") }
    }
}
