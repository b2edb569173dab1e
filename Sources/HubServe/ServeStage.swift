// The main thread of hub-wsserve: lines in, lines out, signals. It reads its inputs always, also while its output is full
// (design: "Flow control", rule 3); what the output's reader does not take stops the sockets instead.

package import HubMessage
package import HubPipe

/// Drives an EdgeServer between descriptors.
package final class ServeStage: Stage {
    private let exchange: Exchange
    private let server: EdgeServer
    private let output: LineWriter
    private let frameRejects: Rejects
    private let onReload: () -> Void

    private var batch: [DownstreamLine] = []
    private var scratch: [UInt8] = []
    /// SIGTERM has come: the time at which connections that still are open are left to themselves.
    private var ending: Int64?
    private var hasEnded = false

    /// While the server ends, or waits for the output to drain, nothing else wakes the loop.
    private static let pace: Int64 = 5_000_000

    /// - Parameters:
    ///   - frameRejects: where frames go that are no message; a node must not be able to end the program, so it is not strict.
    ///   - onReload: SIGHUP.
    package init(
        exchange: Exchange, server: EdgeServer, output: LineWriter, frameRejects: Rejects, onReload: @escaping () -> Void
    ) {
        self.exchange = exchange
        self.server = server
        self.output = output
        self.frameRejects = frameRejects
        self.onReload = onReload
    }

    package func take(_ line: Line, from input: Int, now: Int64) -> String? {
        let parsed = DownstreamLine(line, scratch: &scratch)
        if scratch.capacity > 1 << 20 { scratch = [] }
        if case .refused(let reason) = parsed { return reason }
        batch.append(parsed)
        return nil
    }

    /// The first input wakes the loop. A node, or the output, never makes the others wait; only the event loops' own work does.
    package func wantsInput(_ input: Int) -> Bool { input == 0 || !exchange.isBehind }

    package func tick(now: Int64) throws(PipeError) {
        dispatch()
        // The order matters: a connection writes its last line before it is gone.
        let isAlone = server.openConnections == 0
        for frame in exchange.collect(into: output) {
            guard let copy = frame.bytes else {
                try frameRejects.refuseUnkept(input: frame.node, line: frame.number, reason: frame.reason)
                continue
            }
            var problem: PipeError?
            unsafe copy.withUnsafeBytes { bytes in
                do throws(PipeError) {
                    try unsafe frameRejects.refuse(bytes, input: frame.node, line: frame.number, reason: frame.reason)
                } catch {
                    problem = error
                }
            }
            if let problem { throw problem }
        }
        if let ending, isAlone || now >= ending { hasEnded = true }
    }

    private func dispatch() {
        guard !batch.isEmpty else { return }
        exchange.dispatch(batch)
        batch.removeAll(keepingCapacity: true)
    }

    package var deadline: Int64? {
        if ending != nil { return monotonicNanoseconds() + Self.pace }
        // The loop writes after the tick; once that made room, the sockets are read again.
        guard exchange.isPaused else { return nil }
        return output.pending <= exchange.settings.maxOutput / 4 ? monotonicNanoseconds() : nil
    }

    package var figures: [Figure] {
        Figure.counters(exchange.counters.all) + [
            .gauge("sessions", exchange.sessionCount), .gauge("open_connections", server.openConnections),
            .gauge("pending_bytes", output.pending), .counter("rejected_frames", frameRejects.count),
        ]
    }

    package func addMetrics(to text: inout MetricsText) {
        text.gauge("hub_connected_nodes", Double(exchange.sessionCount), "Nodes that are connected, as the stage sees it.")
    }

    package func reported() {
        server.reportIssuers()
    }

    package func reload() { onReload() }

    package func terminate(now: Int64) {
        // A close handshake takes its time after the flush.
        ending = now + exchange.settings.drain + 2_500_000_000
        // The last lines go out before the close frames.
        dispatch()
        server.beginShutdown()
    }

    package var isDone: Bool { hasEnded }
}
