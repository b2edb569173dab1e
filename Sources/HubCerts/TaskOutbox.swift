// Lines for `taskmanager` between the event loop, which makes them, and the poll loop, which owns standard output.

package import NIOCore
internal import Synchronization

/// A bounded hand-over. A line counts until it has left.
package final class TaskOutbox: Sendable {
    /// Lines, and the promises that wait for them.
    package struct Batch: Sendable {
        package let bytes: [UInt8]
        package let promises: [EventLoopPromise<Void>]
    }

    private struct State {
        var bytes: [UInt8] = []
        var promises: [EventLoopPromise<Void>] = []
        var outstanding = 0
        var isAwake = false
    }

    private let limit: Int
    private let wake: @Sendable () -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - limit: bytes that may wait.
    ///   - wake: makes the poll loop call `take`.
    package init(limit: Int, wake: @escaping @Sendable () -> Void) {
        self.limit = limit
        self.wake = wake
    }

    /// - Parameter promise: succeeds once the line has left; taken only if the result is true.
    /// - Returns: false when too much waits already.
    package func submit(_ line: [UInt8], _ promise: EventLoopPromise<Void>) -> Bool {
        let (isTaken, needsWaking) = state.withLock { state in
            guard state.outstanding == 0 || state.outstanding + line.count <= limit else { return (false, false) }
            state.outstanding += line.count
            state.bytes.append(contentsOf: line)
            state.promises.append(promise)
            defer { state.isAwake = true }
            return (true, !state.isAwake)
        }
        if needsWaking { wake() }
        return isTaken
    }

    /// What has come since the last call.
    package func take() -> Batch {
        state.withLock { state in
            let batch = Batch(bytes: state.bytes, promises: state.promises)
            state.bytes = []
            state.promises = []
            state.isAwake = false
            return batch
        }
    }

    /// `bytes` of what was taken have left.
    package func left(_ bytes: Int) {
        state.withLock { $0.outstanding -= bytes }
    }
}
