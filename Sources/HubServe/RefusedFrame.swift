// A node's frame on its way to the log and the rejects.

extension Exchange {
    /// A frame that was JSON but no message.
    package struct RefusedFrame: Sendable {
        package let node: String
        /// Number of the frame within its connection, from 1.
        package let number: Int
        /// Nil when no copy is kept.
        package internal(set) var bytes: [UInt8]?
        package let reason: String
    }
}
