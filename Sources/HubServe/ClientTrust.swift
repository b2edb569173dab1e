// Which nodes are let in: authorities and revocations, as one value that SIGHUP replaces (design: "hub-wsserve", rules 1 and 6).
//
// A handshake is judged by OpenSSL against the authorities of its context, and an upgrade against the revocations. After a reload every
// live session is judged again, by the same rules as a new connection, except that an expired certificate is let be unless the settings
// say otherwise. A handshake that began before a reload is judged by what holds when its upgrade comes. TLS sessions are resumed within
// one context only, so none outlives a reload.

package import HubTLS
package import HubTrust

/// What holds from one reload to the next.
package struct ClientTrust: Sendable {
    /// For new handshakes.
    package let context: TLSContext
    /// SHA-256 of the authorities that `context` trusts.
    let authorities: Set<[UInt8]>
    let revocations: RevocationList

    package init(context: TLSContext, authorities: [Certificate], revocations: RevocationList) throws(TLSError) {
        self.context = context
        var digests: Set<[UInt8]> = []
        for authority in authorities { digests.insert(try authority.sha256) }
        self.authorities = digests
        self.revocations = revocations
    }

    package var counts: (authorities: Int, revocations: Int) { (authorities.count, revocations.count) }

    /// Why a connection is not let in, or not let live.
    package enum Problem: String, Error, Sendable, Equatable {
        case revoked = "certificate revoked"
        case untrusted = "authority no longer trusted"
        case expired = "certificate expired"
    }

    /// Judges a connection that was verified under `earlier`.
    ///
    /// - Parameter facts: of its certificate; asked for if they matter.
    /// - Parameter node: whose session it is.
    /// - Parameter now: seconds since 1970; nil lets expired certificates be.
    func problem(
        _ facts: @autoclosure () -> CertificateFacts?, _ tls: TLSHandler, of node: String, verifiedUnder earlier: ClientTrust, now: Int64?
    ) -> Problem? {
        if revocations.concerns(node) || now != nil {
            guard let facts = facts() else { return .untrusted }
            if revocations.refuses(facts, of: node) { return .revoked }
            if let now, facts.notAfter < now { return .expired }
        }
        // What was verified under some of these authorities verifies under all of them.
        if earlier.authorities.isSubset(of: authorities) { return nil }
        do throws(TLSError) {
            try tls.verifyPeer(by: context)
            return nil
        } catch {
            return .untrusted
        }
    }
}
