// `hub-swarm generate`: plain lines for the standard input of the hub.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubSwarm
internal import Logging

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints plain downstream lines with a time stamp for 'sink'.",
        discussion: """
            Lines go to the nodes in turn. Lane 'ack' makes config maps that edges
            acknowledge, with uid, resourceVersion and content.data.sent; lane 'once'
            makes device twins that are sent at most once. With --keys the objects of a
            node repeat with rising versions, so that a hub may leave out older ones.
            The time stamp is taken when the line is made: while the reader is slow,
            up to 64 KiB of lines wait here.

            \(ExitStatus.help([.success, .usage, .inputOutput]))
            """)

    @Option(help: "Lines in all; 0 for no end.") var count = 1000
    @Option(help: ArgumentHelp("Bytes of one line; at least what its fixed members need.", valueName: "bytes")) var size = ByteCount(1024)
    @Option(help: ArgumentHelp("Lines per second; 0 for as fast as they are read.", valueName: "number")) var rate = 0.0
    @Option(help: ArgumentHelp("Objects per node; 0 makes each line a new object.", valueName: "number")) var keys = 0
    @Option(help: "Lane of the lines: 'ack' or 'once'.") var lane: DownstreamGenerator.Lane = .ack
    @Option(help: ArgumentHelp("Resource version of the first line; each line has the next one.", valueName: "number")) var firstVersion = 1
    @Option(name: .customLong("run"), help: ArgumentHelp("Number that the uids begin with; random without it.", valueName: "number"))
    var runNumber: UInt32?
    @OptionGroup(title: "Nodes") var nodes: NodeOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard count >= 0, keys >= 0, firstVersion >= 0, rate >= 0, rate < 1e9 else {
            throw ValidationError("--count, --keys, --first-version and --rate must not be negative")
        }
        guard size.bytes <= 1 << 30 else { throw ValidationError("--size must be at most 1 GiB") }
    }

    func run() throws {
        var generator = DownstreamGenerator(
            prefix: nodes.prefix, first: nodes.first, nodes: nodes.nodes, keys: keys, size: size.bytes,
            run: runNumber ?? .random(in: .min ... .max), firstVersion: Int64(firstVersion))
        generator.lane = lane
        let output = try LineWriter.standardOutput()
        let rejects = try Rejects(path: nil, isStrict: false) { _ in }
        let logger = log.logger("hub-swarm")
        let stage = GenerateStage(generator, count: count == 0 ? .max : count, rate: rate, output: output)
        try StageLoop(inputs: [], outputs: [output], rejects: rejects, reporter: logger.reporter("generate")).run(stage)
    }
}

extension DownstreamGenerator.Lane: ExpressibleByArgument {}

/// Lines at a pace, without input.
final class GenerateStage: Stage {
    private var generator: DownstreamGenerator
    private let count: Int
    private let rate: Double
    private let output: LineWriter
    private let start = monotonicNanoseconds()
    private var made = 0
    private var isTerminated = false

    /// Lines that wait for a slow reader, in bytes.
    private static let batch = 64 << 10

    init(_ generator: DownstreamGenerator, count: Int, rate: Double, output: LineWriter) {
        self.generator = generator
        self.count = count
        self.rate = rate
        self.output = output
    }

    var isDone: Bool { isTerminated || made >= count }

    /// When line `number` is due.
    private func due(_ number: Int) -> Int64 { rate > 0 ? start + Int64(Double(number) / rate * 1e9) : start }

    var deadline: Int64? { isDone || output.pending >= Self.batch ? nil : due(made) }

    func tick(now: Int64) {
        let time = wallMicroseconds()
        while !isDone, output.pending < Self.batch, due(made) <= now {
            generator.appendNext(now: time, to: &output.buffer)
            made += 1
        }
    }

    func take(_ line: Line, from input: Int, now: Int64) -> String? { nil }

    var figures: [Figure] { [.counter("lines", made)] }

    func terminate(now: Int64) { isTerminated = true }
}
