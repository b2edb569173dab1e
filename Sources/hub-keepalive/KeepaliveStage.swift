// hub-keepalive between its descriptors.

internal import HubCommand
internal import HubKeepalive
internal import HubMessage
internal import HubPipe
internal import Logging

final class KeepaliveStage: Stage {
    private var monitor: KeepaliveMonitor
    private var output = KeepaliveMonitor.Output()
    private var openInputs: Int
    private let live: LineWriter
    private let control: LineWriter
    private var status: StatusFile?
    private let rejects: Rejects
    private let logger: Logger
    private var wasListening = true
    /// The monotonic time of the last batch, and the microseconds since 1970 then.
    private var heard: (now: Int64, wall: Int64) = (0, 0)
    private var isTerminated = false

    /// Output that may wait before input is left alone.
    private static let fullAt = 1 << 20

    init(
        timeout: Int64, inputCount: Int, live: LineWriter, control: LineWriter, statusFile: String?, rejects: Rejects, logger: Logger
    ) {
        monitor = KeepaliveMonitor(timeout: timeout, now: monotonicNanoseconds())
        openInputs = inputCount
        self.live = live
        self.control = control
        status = statusFile.map { StatusFile($0) }
        self.rejects = rejects
        self.logger = logger
        KeepaliveMonitor.question(time: wallMicroseconds()).append(to: &control.buffer)
    }

    func take(_ line: Line, from input: Int, now: Int64) -> String? {
        // Lines that came together were heard at the same time.
        if now != heard.now { heard = (now, wallMicroseconds()) }
        return monitor.take(line, time: heard.wall, &output)
    }

    /// Once for all lines that came together; what does not wait for the reader is handed over without a copy.
    private func deliver() {
        Self.move(&output.live, to: live)
        Self.move(&output.control, to: control)
    }

    private static func move(_ lines: inout [UInt8], to writer: LineWriter) {
        guard !lines.isEmpty else { return }
        if writer.buffer.isEmpty {
            swap(&writer.buffer, &lines)
        } else {
            writer.buffer.append(contentsOf: lines)
            lines.removeAll(keepingCapacity: true)
        }
    }

    /// Control lines wait on a transport that always reads; live lines wait on whoever reads the hub.
    private var isListening: Bool {
        live.pending + output.live.count < Self.fullAt && control.pending + output.control.count < Self.fullAt
    }

    func wantsInput(_ input: Int) -> Bool { isListening }

    var deadline: Int64? {
        let now = monotonicNanoseconds()
        let next = monitor.deadline(now: now)
        return status?.deadline(next) ?? next
    }

    func tick(now: Int64) {
        let before = monitor.counters.timeouts
        monitor.tick(now: now, isListening: wasListening, time: wallMicroseconds(), &output)
        if monitor.counters.timeouts != before {
            logger.warning("keepalive_timeout", metadata: ["nodes": "\(monitor.counters.timeouts - before)"])
        }
        deliver()
        wasListening = isListening
        if status?.isDue(now) ?? false { writeStatus(now) }
    }

    private func writeStatus(_ now: Int64) {
        do throws(PipeError) {
            try status?.write(monitor.status(), now: now)
        } catch {
            logger.error("status_failed", metadata: ["reason": "\(error.description)"])
        }
    }

    func inputEnded(_ input: Int, now: Int64) { openInputs -= 1 }
    func terminate(now: Int64) { isTerminated = true }
    var isDone: Bool { isTerminated || openInputs == 0 }

    var figures: [Figure] {
        let counters = monitor.counters
        return [
            .gauge("nodes", monitor.count), .counter("keepalives", counters.keepalives), .counter("passed", counters.passed),
            .counter("timeouts", counters.timeouts), .counter("resets", counters.resets),
            .gauge("pending_bytes", live.pending + control.pending),
        ]
    }

    func reported() {
        if status != nil {
            writeStatus(monotonicNanoseconds())
        } else {
            StandardError.write(String(decoding: monitor.status(), as: UTF8.self))
        }
    }
}
