// The file `token`: a join token that is good for at least one more refresh interval, as long as somebody renews it.

internal import HubTLS

extension CertificateStore {
    package struct TokenState: Sendable, Equatable {
        /// Why the file was written, nil when it was left alone.
        package let reason: String?
        /// When the file has to be written next, in seconds since 1970.
        package let renewAt: Int64
    }

    /// Writes a new token if the file holds none, or one with less than `refresh` seconds to live.
    ///
    /// - Parameter refresh: seconds; a new token lives twice as long (KubeEdge: pkg/security/token, `Create`).
    package func renewToken(_ authority: Authority, refresh: Int64, now: Int64) throws(CertsError) -> TokenState {
        let reason: String
        if let content = try readIfPresent(.token) {
            let text = Array(content.drop { $0 <= 0x20 }.prefix { $0 > 0x20 })
            switch authority.tokens.verify(joinToken: text, now: now) {
            case .valid(let claims) where claims.until - now > 2 * refresh: reason = "lives too long"
            case .valid(let claims) where claims.until - now > refresh: return TokenState(reason: nil, renewAt: claims.until - refresh)
            case .valid: reason = "due"
            case .expired: reason = "expired"
            case .invalid, .early: reason = "not of this CA"
            }
        } else {
            reason = "missing"
        }
        let expiry = now + 2 * refresh
        let token = try attempt("cannot make a token") { () throws(TLSError) in try authority.tokens.make(expiry: expiry) }
        try write(Array("\(token)\n".utf8), to: .token)
        return TokenState(reason: reason, renewAt: expiry - refresh)
    }
}
