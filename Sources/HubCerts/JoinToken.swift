// Join tokens (KubeEdge v1.23.1: pkg/security/token): `hex(SHA-256(CA in DER))`, a dot, and a JWT (RFC 7519) signed with HS256.
// The edge checks the CA that it fetched against the first part, and sends the JWT as a bearer token.
// Differs from KubeEdge: only HS256 is accepted, and a token without `exp` is not.

package import HubTLS

/// Signs and checks the tokens of one authority.
package struct JoinTokens: Sendable {
    package enum Verdict: Sendable, Equatable {
        /// - Parameter until: seconds since 1970.
        case valid(until: Int64)
        case expired
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
    package func make(expiry: Int64) throws(TLSError) -> String {
        let header = Base64URL.encode(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8))
        let claims = Base64URL.encode(Array(#"{"exp":\#(expiry)}"#.utf8))
        let signature = Base64URL.encode(try Digest.hmacSHA256(key: key, Array("\(header).\(claims)".utf8)))
        return "\(authorityHash).\(header).\(claims).\(signature)"
    }

    /// Judges a bearer token. The signature comes first: until it is known to be ours, nothing of the token is parsed.
    ///
    /// - Parameter now: seconds since 1970.
    package func verify(bearer: [UInt8], now: Int64) -> Verdict {
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
            let claims = Base64URL.decode(parts[1]).flatMap({ FlatJSON($0) }), case .number(let text)? = claims["exp"],
            let expiry = Double(text), expiry > 0, expiry < 1e15
        else { return .invalid }
        return expiry > Double(now) ? .valid(until: Int64(expiry)) : .expired
    }

    /// Judges a whole join token, as the file `token` holds it.
    package func verify(joinToken: [UInt8], now: Int64) -> Verdict {
        let prefix = Array("\(authorityHash).".utf8)
        guard joinToken.starts(with: prefix) else { return .invalid }
        return verify(bearer: Array(joinToken.dropFirst(prefix.count)), now: now)
    }
}
