// One message in memory: the pending message of a key, or a reply.

/// A superseded message whose answer may still come in this session (design: hub-queue, rule 3).
struct Unanswered: Sendable {
    let hash: UInt64
    let messageID: [UInt8]
    /// Digits without leading zeros.
    let version: [UInt8]
}

/// A place in the queue's memory. Slots are reused; `id` tells whether a slot still means what it meant.
struct Entry: Sendable {
    enum State: UInt8, Sendable {
        case free
        /// Not to be sent now: behind another message of its path, behind a commit, or the node is offline.
        case waiting
        /// In its node's heap.
        case ready
        /// Sent, not answered, its deadline ahead.
        case inFlight
        /// Waiting out a backoff.
        case backoff
    }

    /// The row's number; also the place in the order of arrival.
    var id: Int64 = 0
    var text = MessageText.empty
    var keyHash: UInt64 = 0
    var pathHash: UInt64 = 0
    var messageHash: UInt64 = 0
    /// Superseded messages of this key that were sent in this session and not answered; the newest last.
    var older: [Unanswered] = []
    /// When the acknowledgement expires, or the backoff ends.
    var due: Int64 = 0
    /// A reply waits until the rows up to this one have been loaded: one of them has its path.
    var holdUntil: Int64 = 0
    /// The commit that first wrote the row; rows loaded from disk have 0.
    var batch = 0
    var size: Int32 = 0
    /// Bytes counted for this entry in its node's window.
    var flightSize: Int32 = 0
    var node: Int32 = -1
    // Neighbours in three lists: of the node and of the path by `id`, of all in flight by `due`; -1 for none.
    var previousOfNode: Int32 = -1
    var nextOfNode: Int32 = -1
    var previousOnPath: Int32 = -1
    var nextOnPath: Int32 = -1
    var previousInFlight: Int32 = -1
    var nextInFlight: Int32 = -1
    /// Sends since the last newer version, session or backoff.
    var attempts: Int32 = 0
    /// Backoffs since the last newer version or session.
    var backoffs: Int32 = 0
    var state = State.free
    var isReply = false
    /// Counted in its node's `held`.
    var isHeld = false
    /// Its operation is `delete`: nothing replaces it, and its acknowledgement forgets the key.
    var isDelete = false
    /// Sent in some session: an acknowledgement can be real.
    var wasSent = false
    var wasSentInSession = false
    /// Must not be sent before the next commit.
    var isGated = false
    /// What is in flight is `older.last`, not `text`.
    var flightIsOlder = false

    /// Most superseded messages that are remembered.
    static let maxOlder = 16
}
