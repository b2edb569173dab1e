// What happened, by cause (design: "Every drop has a counter; there is no silent path").

package struct QueueCounters: Sendable, Equatable {
    /// `ack` lines taken.
    package var accepted = 0
    /// Pending messages that a newer version replaced.
    package var superseded = 0
    /// `ack` lines dropped: not newer than what is pending or acknowledged.
    package var stale = 0
    /// `ack` lines dropped because the deletion of their key is pending.
    package var droppedBehindDelete = 0
    /// Messages written to the output for the first time, and again.
    package var sent = 0
    package var retries = 0
    package var acknowledged = 0
    package var duplicateAcks = 0
    package var unknownAcks = 0
    package var expired = 0
    package var backoffs = 0
    package var refusedByNode = 0
    package var unknownRefusals = 0
    package var onceForwarded = 0
    package var onceDroppedOffline = 0
    /// `once` lines dropped because the output has been full for too long.
    package var onceDroppedFull = 0
    package var repliesDroppedOffline = 0
    /// Replies that no acknowledgement came for, or whose session ended.
    package var repliesDroppedUnanswered = 0
    package var repliesDroppedFull = 0
    /// Replies that would have followed a newer message of their path.
    package var repliesOvertaken = 0
    package var repliesRefused = 0
    package var connected = 0
    package var disconnected = 0
    package var resets = 0
    /// Nodes found to be offline by the answer to `who`.
    package var reconciled = 0
    package var forgottenNodes = 0
    /// Messages dropped because their node was deleted.
    package var droppedWithNode = 0

    package init() {}

    /// The counters by name.
    package var members: [(name: String, value: Int)] {
        [
            ("accepted", accepted), ("superseded", superseded), ("stale", stale), ("dropped_behind_delete", droppedBehindDelete),
            ("sent", sent), ("retries", retries), ("acked", acknowledged), ("duplicate_acks", duplicateAcks),
            ("unknown_acks", unknownAcks), ("expired", expired), ("backoffs", backoffs), ("refused_by_node", refusedByNode),
            ("unknown_refusals", unknownRefusals), ("once_forwarded", onceForwarded),
            ("once_dropped_offline", onceDroppedOffline), ("once_dropped_full", onceDroppedFull),
            ("replies_dropped_offline", repliesDroppedOffline), ("replies_dropped_unanswered", repliesDroppedUnanswered),
            ("replies_dropped_full", repliesDroppedFull), ("replies_overtaken", repliesOvertaken),
            ("replies_refused", repliesRefused), ("connected", connected), ("disconnected", disconnected), ("resets", resets),
            ("reconciled_offline", reconciled),
            ("forgotten_nodes", forgottenNodes), ("dropped_with_node", droppedWithNode),
        ]
    }
}
