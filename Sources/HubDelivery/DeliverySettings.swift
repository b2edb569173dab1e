// What the queue between its descriptors can be told (design: "hub-queue", "Flow control").

package import HubQueue

package struct DeliverySettings: Sendable {
    package var queue = QueueSettings()
    /// The first input is the feedback.
    package var hasFeedback = true
    /// Inputs, the feedback included.
    package var inputCount = 2
    /// Nanoseconds that a commit may wait while lines keep coming.
    package var commitDelay: Int64 = 5_000_000
    /// A file with the nodes that have messages in flight; nil for none.
    package var statusFile: String?
    /// End when the input has ended, some node has been online, and nothing is pending for any node that is.
    package var exitWhenDrained = false
    /// Bytes of output that may wait before no more is sent and the cloud is no longer read.
    package var fullAt = 256 << 10
    /// Bytes of output that may wait before a `once` line from the feedback is dropped.
    package var overfullAt = 4 << 20
    /// Messages of offline nodes that leave memory in one turn of the loop.
    package var parkAtOnce = 256

    package init() {}
}
