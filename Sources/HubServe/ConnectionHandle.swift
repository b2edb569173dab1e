// What other threads know of a connection.

/// Reaches one connection through its event loop's mailbox.
package final class ConnectionHandle: Sendable {
    /// Never used again in this process.
    let number: Int
    let loop: LoopPart

    init(number: Int, loop: LoopPart) {
        self.number = number
        self.loop = loop
    }
}
