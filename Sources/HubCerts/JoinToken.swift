// Join tokens (KubeEdge v1.23.1: pkg/security/token): `hex(SHA-256(CA in DER))`, a dot, and a JWT (RFC 7519) signed with HS256.
// The edge checks the CA that it fetched against the first part, and sends the JWT as a bearer token.
// Differs from KubeEdge: only HS256 is accepted, and a token without `exp` is not. Beside KubeEdge's token, which holds nothing but `exp`
// and lets anybody join as any node, there are tokens for one node: `sub` is the node's user name `system:node:<node>`; with `jti`
// the token is good once. An edge does not look into the JWT: it splits the token at its dots, four parts, and sends the last three.

internal import HubMessage
package import HubTLS

/// Signs and checks the tokens of one authority.
package struct JoinTokens: Sendable {
    package enum Verdict: Sendable, Equatable {
        case valid(JoinClaims)
        case expired
        /// `nbf` is in the future.
        case early
        /// Not signed with this key, or no JWT.
        case invalid
    }

    /// Longest token that is looked at.
    static let maxLength = 4096

    private let key: Secret
    private let authorityHash: String

    /// - Parameter key: the bytes of the CA key as its PEM block holds them.
    package init(authority: Certificate, key: Secret) throws(TLSError) {
        self.key = key
        authorityHash = Digest.hex(try authority.sha256)
    }

    /// A join token that ends at `expiry`, in seconds since 1970.
    ///
    /// - Parameter node: the only node that it enrols; nil for any node.
    /// - Parameter id: makes the token good once.
    package func make(expiry: Int64, node: String? = nil, id: String? = nil) throws(TLSError) -> String {
        var members = #"{"exp":\#(expiry)"#
        if let node { members += #","sub":"\#(JoinClaims.userPrefix)\#(node)""# }
        if let id { members += #","jti":"\#(id)""# }
        let header = Base64URL.encode(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8))
        let claims = Base64URL.encode(Array("\(members)}".utf8))
        let signature = Base64URL.encode(try Digest.hmacSHA256(key: key, Array("\(header).\(claims)".utf8)))
        return "\(authorityHash).\(header).\(claims).\(signature)"
    }

    /// Judges a bearer token. The signature comes first: until it is known to be ours, nothing of the token is parsed.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - leeway: seconds by which a token may have expired, or not have begun.
    package func verify(bearer: [UInt8], now: Int64, leeway: Int64 = 0) -> Verdict {
        guard bearer.count <= Self.maxLength else { return .invalid }
        let parts = bearer.split(separator: 0x2e, omittingEmptySubsequences: false)
        guard parts.count == 3, let signature = Base64URL.decode(parts[2]) else { return .invalid }
        let signed = Array(bearer[..<(parts[2].startIndex - 1)])
        do throws(TLSError) {
            guard Digest.isEqual(try Digest.hmacSHA256(key: key, signed), signature) else { return .invalid }
        } catch {
            return .invalid
        }
        guard let header = Base64URL.decode(parts[0]).flatMap({ FlatJSON($0) }), header["alg"] == .string("HS256"),
            let object = Base64URL.decode(parts[1]).flatMap({ FlatJSON($0) }), let claims = JoinClaims(object)
        else { return .invalid }
        guard claims.notBefore <= now + leeway else { return .early }
        return claims.until > now - leeway ? .valid(claims) : .expired
    }

    /// Judges a whole join token, as the file `token` holds it.
    package func verify(joinToken: [UInt8], now: Int64) -> Verdict {
        let prefix = Array("\(authorityHash).".utf8)
        guard joinToken.starts(with: prefix) else { return .invalid }
        return verify(bearer: Array(joinToken.dropFirst(prefix.count)), now: now)
    }
}
