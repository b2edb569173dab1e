// One-time tokens that have been used. What makes it durable is the record of the signature in `issued.jsonl`, which names the token and is
// on the disk before the certificate leaves.

/// A table that is bounded by what its tokens' makers made: an id is forgotten when its token has expired.
package struct SpentTokens: Sendable {
    private var expiries: [String: Int64] = [:]
    private var sweepAt = 64

    package init() {}

    package var count: Int { expiries.count }

    package func contains(_ id: String) -> Bool { expiries[id] != nil }

    /// - Parameters:
    ///   - expiry: when the token is no longer accepted anyway, in seconds since 1970.
    ///   - now: likewise.
    /// - Returns: false when it was spent before.
    package mutating func spend(_ id: String, expiry: Int64, now: Int64) -> Bool {
        guard expiries[id] == nil else { return false }
        if expiries.count >= sweepAt {
            expiries = expiries.filter { $0.value > now }
            sweepAt = max(64, 2 * expiries.count)
        }
        expiries[id] = expiry
        return true
    }

    /// The signature could not be recorded, so the certificate did not leave: the token is as good as before.
    package mutating func release(_ id: String) { expiries[id] = nil }
}
