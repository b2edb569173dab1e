// The authorities that hold at one time: the one that signs, and those whose certificates are accepted beside its own while one takes
// the other's place (`hub-certs rotate-ca`).

package import HubTLS

package struct AuthoritySet: Sendable {
    package let signing: Authority
    /// The next one before it signs, the old one until it is dropped.
    package let others: [Certificate]
    /// Tokens that were made before the authority changed are good until the old one is dropped.
    let formerTokens: [JoinTokens]
    /// SHA-256 of the signing authority, as a join token begins with it.
    package let hash: String

    package init(signing: Authority, others: [Certificate] = [], formerTokens: [JoinTokens] = []) throws(TLSError) {
        self.signing = signing
        self.others = others
        self.formerTokens = formerTokens
        hash = Digest.hex(try signing.certificate.sha256)
    }

    /// Judges a bearer token.
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - leeway: seconds by which a token may have expired, or not have begun.
    func verify(bearer: [UInt8], now: Int64, leeway: Int64) -> JoinTokens.Verdict {
        let verdict = signing.tokens.verify(bearer: bearer, now: now, leeway: leeway)
        guard verdict == .invalid else { return verdict }
        return formerTokens.lazy.map { $0.verify(bearer: bearer, now: now, leeway: leeway) }.first { $0 != .invalid } ?? .invalid
    }
}
