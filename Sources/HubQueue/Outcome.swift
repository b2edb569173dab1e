// What became of an `ack` line at its arrival.

package enum Outcome: Equatable, Sendable {
    /// It is pending, perhaps in the place of an older version of its key; a reply is held for the session.
    case taken
    /// Dropped: its version is not higher than that of the pending message of its key.
    case notNewerThanPending
    /// Dropped: its version is not higher than the one that the node acknowledged.
    case notNewerThanAcknowledged
    /// Dropped: the deletion of its key is pending.
    case behindDelete
    /// A reply to a node that is offline.
    case replyToNobody
    /// A reply to a node that has too many of them.
    case tooManyReplies
}
