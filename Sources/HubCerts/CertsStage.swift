// The poll loop's side of `hub-certs serve`: signals, standard output and the renewal of the join token.

package import HubMessage
package import HubPipe
internal import HubTLS
internal import NIOCore

package final class CertsStage: Stage {
    private let server: CertsServer
    private let outbox: TaskOutbox
    private let output: LineWriter
    private let drain: Int64
    private let onReload: () -> Void
    private let counters: CertsCounters
    private let onMinute: () -> Void
    /// Of lines that stand in `output`.
    private var promises: [EventLoopPromise<Void>] = []
    private var taken = 0
    private var nextMinute: Int64
    private var ending: Int64?

    private static let minute: Int64 = 60_000_000_000
    /// While the server ends, nothing wakes the loop when a connection closes.
    private static let pace: Int64 = 5_000_000

    /// - Parameters:
    ///   - drain: nanoseconds after SIGTERM in which requests may end.
    ///   - onMinute: called once a minute.
    package init(
        server: CertsServer, counters: CertsCounters, outbox: TaskOutbox, output: LineWriter, drain: Int64,
        onReload: @escaping () -> Void, onMinute: @escaping () -> Void
    ) {
        self.server = server
        self.outbox = outbox
        self.output = output
        self.drain = drain
        self.onReload = onReload
        self.counters = counters
        self.onMinute = onMinute
        nextMinute = monotonicNanoseconds() + Self.minute
    }

    /// The only input is the wake-up pipe, which has no lines.
    package func take(_ line: Line, from input: Int, now: Int64) throws(PipeError) -> String? { nil }

    package var deadline: Int64? { ending == nil ? nextMinute : monotonicNanoseconds() + Self.pace }

    package func tick(now: Int64) throws(PipeError) {
        let batch = outbox.take()
        output.buffer.append(contentsOf: batch.bytes)
        promises.append(contentsOf: batch.promises)
        taken += batch.bytes.count
        if output.pending > 0 {
            do throws(PipeError) {
                try output.flush()
            } catch {
                for promise in promises { promise.fail(error) }
                promises = []
                throw error
            }
        }
        if output.pending == 0, taken > 0 {
            outbox.left(taken)
            taken = 0
            for promise in promises { promise.succeed() }
            promises = []
        }
        if now >= nextMinute, ending == nil {
            nextMinute = now + Self.minute
            onMinute()
        }
    }

    package var figures: [Figure] {
        Figure.counters(counters.all) + [.gauge("open", server.openConnections), .gauge("pending_bytes", output.pending)]
    }

    package func reload() { onReload() }

    package func terminate(now: Int64) {
        ending = now + drain
        server.beginShutdown()
    }

    package var isDone: Bool {
        guard let ending else { return false }
        return server.openConnections == 0 || monotonicNanoseconds() >= ending
    }
}
