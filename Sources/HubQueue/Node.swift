// What is in memory of each node, whether or not it is connected.

struct Node: Sendable {
    var name: [UInt8] = []
    var nameHash: UInt64 = 0
    /// The node's number in the state file.
    var storeID: Int64 = 0
    /// The live session, -1 when offline.
    var session: Int64 = -1
    /// The last session seen; a smaller one is old.
    var lastSession: Int64 = -1
    /// The event that last confirmed the session, as a count of events.
    var confirmed = 0
    var window = 0
    var flights = 0
    var flightBytes = 0
    /// What may be sent, by arrival. May hold entries that have since changed; they are skipped.
    var ready = MinHeap<ReadyMessage>()
    /// First and last entry in memory, by `id`.
    var first: Int32 = -1
    var last: Int32 = -1
    /// Entries in memory, replies included, and those of them that are replies or in backoff.
    var count = 0
    var replies = 0
    var backingOff = 0
    /// Entries in memory that stand behind another one of their path.
    var behind = 0
    /// Replies that wait for rows of their path to come into memory.
    var held = 0
    /// Rows with a larger id than `loadedThrough` may lie on disk without an entry. All others have one.
    var hasDiskRows = false
    var loadedThrough: Int64 = 0
    var isInTurns = false
    var isInLoads = false
    var isParking = false
    var exists = false

    var isOnline: Bool { session >= 0 }
}
