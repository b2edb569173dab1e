// What a receipt says (design: hub-queue, rule 8, and "What a killed stage had read … whoever must know uses receipts").

/// What became of an `ack` message, once that is durable.
package enum Fate: Sendable, Equatable {
    /// It is on disk, or the node has acknowledged it. A reply is never on disk: it is held for the node's session.
    case accepted
    /// Something newer took its place before it was on disk, and is on disk now: a newer version of its key, or the node's deletion.
    case superseded
    /// Not needed: not newer than what is pending or acknowledged, behind the deletion of its key, or a reply that nobody waits for.
    case stale
    /// Its envelope is bad, or there is no room for it.
    case refused

    var text: StaticString {
        switch self {
        case .accepted: "accepted"
        case .superseded: "superseded"
        case .stale: "stale"
        case .refused: "refused"
        }
    }
}
