// The poll loop of a stage: descriptors, timers and signals become calls, in one thread.

internal import HubMessage

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Drives one stage until it is done.
///
/// Each turn waits, reads at most 64 KiB from each ready input, hands over every complete line, ticks the stage, and writes each
/// output once (design: "Flow control", rule 5). Inputs are served in their order: a ready earlier input is read empty first.
package final class StageLoop {
    private let inputs: [LineReader]
    private let outputs: [LineWriter]
    private let rejects: Rejects
    private let reporter: Reporter
    private let notice: ServiceNotice?
    private let signals: Descriptor
    private var polls: [pollfd] = []
    /// For each entry of `polls` after the signal: the input, or nil for an output.
    private var polledInputs: [Int?] = []
    private var isTerminating = false
    private var malformed: PipeError?
    /// Linux gives a pipe 64 KiB, and without privileges at most 1 MiB.
    private static let largestPipe = 1 << 20

    /// - Parameter inputs: the first has the highest priority.
    /// - Parameter notice: hears that the stage is ready, reads its files again, or ends.
    package init(
        inputs: [LineReader], outputs: [LineWriter], rejects: Rejects, reporter: Reporter, notice: ServiceNotice? = nil
    ) throws(PipeError) {
        self.notice = notice
        self.inputs = inputs
        self.outputs = outputs
        self.rejects = rejects
        self.reporter = reporter
        for output in outputs { output.countsLines = reporter.countsLines }
        signals = try SystemSignals.open()
    }

    /// Runs until the stage is done and its outputs are flushed, or an output's reader has gone.
    package func run(_ stage: some Stage) throws(PipeError) {
        try stage.tick(now: monotonicNanoseconds())
        notice?.ready()
        while true {
            for output in outputs {
                for tap in output.taps { tap.flush() }
                if output.pending > 0 { try output.flush() }
            }
            let isDone = stage.isDone
            if isDone { notice?.stopping() }
            if isDone, outputs.allSatisfy({ $0.pending == 0 }) {
                reporter.write { describe(stage, &$0) }
                if let malformed { throw malformed }
                return
            }
            try wait(stage, readsInput: !isDone && !isTerminating)
            let now = monotonicNanoseconds()
            try takeSignals(stage, now)
            try untilMalformed { () throws(PipeError) in
                for (position, input) in polledInputs.enumerated() {
                    guard let input, polls[position + 1].revents != 0 else { continue }
                    // A stage may close its gates while an earlier input is served.
                    guard !isTerminating, stage.wantsInput(input) else { continue }
                    // Read empty: a read that brings less than it asked for leaves nothing behind. The last input has nobody after it.
                    // What never gets empty is left after as much as the largest pipe holds, so that outputs and timers get their turn.
                    var reads = input < inputs.count - 1 ? Self.largestPipe / LineReader.readSize : 1
                    while reads > 0, stage.wantsInput(input), try serve(input, stage, now) == .bytes(LineReader.readSize) { reads -= 1 }
                }
            }
            if malformed != nil, !isTerminating {
                isTerminating = true
                stage.terminate(now: now)
            }
            try stage.tick(now: now)
            reporter.tick(now: now) { describe(stage, &$0) }
        }
    }

    /// The name of an input or output, without its directory.
    private static func link(_ name: String) -> String {
        switch name {
        case "-": "stdin"
        case "standard output": "stdout"
        default: name.split(separator: "/").last.map { String($0) } ?? name
        }
    }

    /// The stage's metrics: those that every stage has, its figures, and what it adds itself.
    private func describe(_ stage: some Stage, _ text: inout MetricsText) {
        let lines = "Lines read and written, by input and output."
        let bytes = "Bytes read and written, by input and output."
        for input in inputs where !input.isInternal {
            let labels: KeyValuePairs = ["direction": "in", "link": Self.link(input.name)]
            text.counter("hub_lines_total", Double(input.lineNumber), lines, labels)
            text.counter("hub_bytes_total", Double(input.bytesRead), bytes, labels)
        }
        for output in outputs {
            let labels: KeyValuePairs = ["direction": "out", "link": Self.link(output.name)]
            text.counter("hub_lines_total", Double(output.linesWritten), lines, labels)
            text.counter("hub_bytes_total", Double(output.bytesWritten), bytes, labels)
        }
        for output in outputs {
            let labels: KeyValuePairs = ["link": Self.link(output.name)]
            text.gauge("hub_output_pending_bytes", Double(output.pending), "Bytes that wait for the reader of an output.", labels)
        }
        for tap in outputs.flatMap(\.taps) {
            let labels: KeyValuePairs = ["tap": Self.link(tap.path)]
            text.counter("hub_tapped_lines_total", Double(tap.copied), "Lines that the reader of a tap got.", labels)
            text.counter("hub_tap_dropped_lines_total", Double(tap.dropped), "Lines that the reader of a tap missed.", labels)
        }
        for (reason, count) in rejects.byReason.sorted(by: { $0.key < $1.key }) {
            text.counter("hub_rejects_total", Double(count), "Refused lines, by reason.", ["reason": reason])
        }
        for figure in stage.figures {
            switch figure.kind {
            case .counter: text.counter("hub_\(reporter.stage)_\(figure.name)_total", Double(figure.value))
            case .gauge: text.gauge("hub_\(reporter.stage)_\(figure.name)", Double(figure.value))
            }
        }
        stage.addMetrics(to: &text)
    }

    /// With `--strict` the first refused line ends the stage as SIGTERM does: what came before it leaves.
    private func untilMalformed(_ body: () throws(PipeError) -> Void) throws(PipeError) {
        do throws(PipeError) {
            try body()
        } catch {
            guard error.code == .malformed else { throw error }
            malformed = error
        }
    }

    private func wait(_ stage: some Stage, readsInput: Bool) throws(PipeError) {
        polls.removeAll(keepingCapacity: true)
        polledInputs.removeAll(keepingCapacity: true)
        polls.append(pollfd(fd: signals.raw, events: Int16(POLLIN), revents: 0))
        if readsInput {
            for (number, input) in inputs.enumerated() where !input.hasEnded && stage.wantsInput(number) {
                polls.append(pollfd(fd: input.descriptor.raw, events: Int16(POLLIN), revents: 0))
                polledInputs.append(number)
            }
        }
        for output in outputs where output.pending > 0 && !output.taps.contains(where: \.isBehind) {
            polls.append(pollfd(fd: output.descriptor.raw, events: Int16(POLLOUT), revents: 0))
            polledInputs.append(nil)
        }
        for tap in outputs.lazy.flatMap(\.taps) {
            guard tap.wantsWrite, let raw = tap.raw else { continue }
            polls.append(pollfd(fd: raw, events: Int16(POLLOUT), revents: 0))
            polledInputs.append(nil)
        }
        var timeout: Int32 = -1
        let deadline = min(stage.deadline ?? .max, reporter.deadline ?? .max)
        if deadline != .max {
            let left = max(0, deadline - monotonicNanoseconds())
            timeout = Int32(clamping: (left + 999_999) / 1_000_000)
        }
        let count = unsafe polls.withUnsafeMutableBufferPointer { unsafe poll($0.baseAddress, nfds_t($0.count), timeout) }
        if count < 0 {
            for position in polls.indices { polls[position].revents = 0 }
        }
    }

    private func takeSignals(_ stage: some Stage, _ now: Int64) throws(PipeError) {
        guard polls[0].revents != 0 else { return }
        while let signal = SystemSignals.next(signals) {
            switch signal {
            case .report:
                reporter.report(stage.figures + [.counter("rejected", rejects.count)])
                stage.reported()
            case .hangUp:
                if let notice { notice.reloading { stage.reload() } } else { stage.reload() }
            case .terminate:
                // The second one asks for the end at once, whatever is unwritten.
                if isTerminating { _exit(75) }
                notice?.stopping()
                isTerminating = true
                try untilMalformed { () throws(PipeError) in try takeWhatIsThere(stage, now) }
                stage.terminate(now: now)
            }
        }
    }

    /// Takes what lies in the pipes: when stages are ended one after the other, the line that the one before wrote last is there,
    /// and nobody else will read it. A file, or a writer that goes on, is left after as much as the largest pipe holds.
    private func takeWhatIsThere(_ stage: some Stage, _ now: Int64) throws(PipeError) {
        for (number, input) in inputs.enumerated() {
            var reads = Self.largestPipe / LineReader.readSize
            while reads > 0, !input.hasEnded, stage.wantsInput(number), isReadable(input) {
                _ = try serve(number, stage, now)
                reads -= 1
            }
        }
    }

    private func isReadable(_ input: LineReader) -> Bool {
        var entry = pollfd(fd: input.descriptor.raw, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&entry, 1, 0) == 1
    }

    private func serve(_ number: Int, _ stage: some Stage, _ now: Int64) throws(PipeError) -> LineReader.ReadResult {
        let input = inputs[number]
        let result = try input.read()
        if result == .wouldBlock { return result }
        while let piece = unsafe input.next() {
            switch unsafe piece {
            case .line(let bytes, let line):
                if let reason = try unsafe take(bytes, number, stage, now) {
                    try unsafe rejects.refuse(bytes, input: input.name, line: line, reason: reason)
                }
            case .overlong(let bytes, let line, let isLast):
                try unsafe rejects.refusePart(bytes, input: input.name, line: line, isLast: isLast, reason: "line too long")
            }
        }
        if input.hasEnded { stage.inputEnded(number, now: now) }
        return result
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ input: Int, _ stage: some Stage, _ now: Int64) throws(PipeError) -> String? {
        let line: Line
        do throws(MessageError) {
            line = try unsafe Line.scan(bytes)
        } catch {
            return error.description
        }
        return try stage.take(line, from: input, now: now)
    }
}
