// What other threads know of a connection.

internal import Synchronization

/// Reaches one connection through its event loop's mailbox.
package final class ConnectionHandle: Sendable {
    /// Never used again in this process.
    let number: Int
    let loop: LoopPart
    /// Bytes of frames that were accepted for the connection and have not left it.
    let unsent = Atomic<Int>(0)

    init(number: Int, loop: LoopPart) {
        self.number = number
        self.loop = loop
    }
}
