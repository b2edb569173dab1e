// Who may enrol (design: "hub-certs"): what the operator chose, and who is revoked. Replaced when the files are read again.

internal import HubTLS
package import HubTrust

package struct EnrollmentRules: Sendable {
    /// Days for which a node's certificate is valid.
    package var edgeDays: Int64 = 365
    /// Seconds after its expiry in which a node's certificate still renews itself, and does nothing else.
    package var renewalGrace: Int64 = 0
    /// Tokens that are not for one node are good.
    package var takesSharedTokens = true
    /// Seconds by which a token may have expired.
    package var tokenLeeway: Int64 = 0
    package var revocations = RevocationList()

    package init() {}

    init(_ settings: CertsSettings, _ revocations: RevocationList) {
        edgeDays = settings.edgeDays
        renewalGrace = settings.renewalGrace
        takesSharedTokens = settings.takesSharedTokens
        tokenLeeway = settings.tokenLeeway
        self.revocations = revocations
    }

    /// What a request's client certificate is good for.
    enum Standing: Equatable {
        /// There is none, or nothing speaks against it.
        case good
        /// It may renew itself.
        case inGrace
        case expired
        case revoked
    }

    func standing(of request: CertsRequest, now: Int64) -> Standing {
        guard let facts = request.facts else { return .good }
        if case .node(let node) = request.identity, revocations.refuses(facts, of: node) { return .revoked }
        if facts.notAfter >= now { return .good }
        return now - facts.notAfter <= renewalGrace ? .inGrace : .expired
    }
}
