// hub-dispatch down: plain lines in, inner lines out.

internal import ArgumentParser
internal import HubCommand
internal import HubDispatch
internal import HubMessage
internal import HubPipe
internal import Logging

struct Down: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down",
        abstract: "Adds the envelope to messages for nodes: cloud to edge.",
        usage: "hub-dispatch down [<option> ...] [<input> ...]",
        discussion: """
            Each INPUT is a file or FIFO of message lines, '-' is standard input, which
            is also the default. Inputs are read side by side until all have ended. A
            line that names no node, or that must be acknowledged but lacks what an
            acknowledgement needs (msg_id, group 'resource', uid, decimal
            resourceversion), is refused with a reason. A line that has an envelope
            already passes unchanged once that is checked.

            EXAMPLES
              hub-dispatch down < down.jsonl
              hub-dispatch down --rejects bad.jsonl controllers.fifo | hub-queue --state queue.db

            SIGNALS
              SIGTERM  ends at a line boundary
              SIGUSR1  logs one line of counters

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .cannotCreate, .inputOutput, .noPermission, .configuration]))
            """)

    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Start") var start: StartOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func run() throws {
        let logger = log.logger("hub-dispatch")
        let notice = try start.notice(logger)
        let inputs = try lines.openInputs(input)
        let output = try outputs.open()
        let rejects = try lines.makeRejects(logger)
        let stage = DownStage(inputCount: inputs.endingCount, output: output, rejects: rejects, logger: logger)
        try StageLoop(inputs: inputs, outputs: [output], rejects: rejects, reporter: outputs.reporter("down", logger), notice: notice).run(
            stage)
    }
}

/// `down` between its descriptors.
private final class DownStage: Stage {
    private var dispatcher = DownstreamDispatcher()
    private var openInputs: Int
    private let output: LineWriter
    private let rejects: Rejects
    private let logger: Logger
    private var isTerminated = false

    /// Output that may wait before inputs are left alone.
    private static let fullAt = 1 << 20

    init(inputCount: Int, output: LineWriter, rejects: Rejects, logger: Logger) {
        openInputs = inputCount
        self.output = output
        self.rejects = rejects
        self.logger = logger
    }

    func take(_ line: Line, from input: Int, now: Int64) -> String? {
        if case .refused(let reason) = dispatcher.dispatch(line, to: &output.buffer) { return reason }
        return nil
    }

    func wantsInput(_ input: Int) -> Bool { output.pending < Self.fullAt }
    func inputEnded(_ input: Int, now: Int64) { openInputs -= 1 }
    func terminate(now: Int64) { isTerminated = true }
    var isDone: Bool { isTerminated || openInputs == 0 }

    var figures: [Figure] {
        let counters = dispatcher.counters
        return [
            .counter("ack", counters.ack), .counter("once", counters.once), .counter("inner", counters.inner),
            .counter("skipped", counters.skipped), .counter("refused", counters.refused),
            .gauge("pending_bytes", output.pending),
        ]
    }
}
