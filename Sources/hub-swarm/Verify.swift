// `hub-swarm verify`: the other end of a flood.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubSwarm
internal import Logging

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reads upstream lines and checks the order that 'flood' gave them.",
        discussion: """
            Each INPUT is a file or FIFO of lines as the hub writes them, '-' is standard
            input, which is also the default. Ends with its input, or at --count. Prints
            messages, nodes, missing and disordered ones, and latencies.

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .inputOutput, .temporary]))
              Status 75: messages are missing or out of order, or fewer came than --count.
            """)

    @Option(help: "End with status 0 when so many messages have come in order.") var count: Int?
    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func run() throws {
        let logger = log.logger("hub-swarm")
        let inputs = try lines.openInputs(input)
        let rejects = try lines.makeRejects(logger)
        let stage = VerifyStage(inputCount: inputs.endingCount, count: count)
        try StageLoop(inputs: inputs, outputs: [], rejects: rejects, reporter: logger.reporter("verify")).run(stage)
        let counts = stage.check.counts
        let isComplete = counts.missing == 0 && counts.disordered == 0 && counts.untracked == 0 && counts.messages >= count ?? 0
        let seconds = Double(stage.lastLine - stage.firstLine) / 1e9
        var object = FigureObject()
        object.add("mode", "verify")
        object.add("messages", counts.messages)
        object.add("nodes", counts.nodes)
        object.add("missing", counts.missing)
        object.add("disordered", counts.disordered)
        object.add("others", counts.others)
        object.add("untracked", counts.untracked)
        object.add("rejected", rejects.count)
        object.add("seconds", seconds)
        object.add("rate", seconds > 0 ? Double(counts.messages) / seconds : 0)
        object.add("latency_us", counts.latency)
        object.add("complete", isComplete)
        try object.print()
        guard isComplete || stage.isTerminated else {
            throw Failure(.temporary, "\(counts.messages) messages, \(counts.missing) missing, \(counts.disordered) out of order")
        }
    }
}

/// Counts what comes; writes nothing.
final class VerifyStage: Stage {
    private(set) var check = SequenceCheck()
    /// Monotonic nanoseconds of the first and the last counted message; events about connections come long before.
    private(set) var firstLine: Int64 = 0
    private(set) var lastLine: Int64 = 0
    private(set) var isTerminated = false
    private var openInputs: Int
    private let count: Int?

    init(inputCount: Int, count: Int?) {
        openInputs = inputCount
        self.count = count
    }

    var isDone: Bool { isTerminated || openInputs == 0 || count.map { check.counts.messages >= $0 } ?? false }

    func take(_ line: Line, from input: Int, now: Int64) -> String? {
        let before = check.counts.messages
        check.take(line, now: wallMicroseconds())
        guard check.counts.messages > before else { return nil }
        lastLine = monotonicNanoseconds()
        if firstLine == 0 { firstLine = lastLine }
        return nil
    }

    func inputEnded(_ input: Int, now: Int64) { openInputs -= 1 }

    var figures: [Figure] {
        let counts = check.counts
        return [
            .counter("messages", counts.messages), .gauge("nodes", counts.nodes), .counter("missing", counts.missing),
            .counter("disordered", counts.disordered),
        ]
    }

    func terminate(now: Int64) { isTerminated = true }
}
