// The numbers that an operator can change, and their defaults (design: "hub-queue", "Flow control" rule 2).

package struct QueueSettings: Sendable, Equatable {
    /// Most messages on their way to one node.
    package var window = 64
    /// Most bytes on their way to one node; a larger message goes alone.
    package var windowBytes = 1 << 20
    /// Nanoseconds until a message without acknowledgement is sent again.
    package var ackTimeout: Int64 = 5_000_000_000
    /// Sends before the key backs off.
    package var attempts = 5
    /// Nanoseconds of the first backoff; each further one doubles.
    package var firstBackoff: Int64 = 1_000_000_000
    /// Nanoseconds of the longest backoff.
    package var longestBackoff: Int64 = 300_000_000_000
    /// Nanoseconds between two questions `who`; nil when there is no feedback that could answer.
    package var reconcile: Int64?
    /// Most messages of one connected node that are kept in memory. What is more stays on disk until there is room.
    package var heldPerNode = 16_384
    /// Bytes that messages in memory may take, all nodes together.
    package var maxMemory = 256 << 20

    package init() {}

    /// Bytes that the bookkeeping of one message in memory is counted with.
    package static let entryCost = 600
}
