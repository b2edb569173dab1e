// hub-replay: plays recorded lines at the pace of their timestamps.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubReplay

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

@main
enum Main {
    static func main() { runProgram(HubReplayCommand.self) }
}

struct HubReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-replay",
        abstract: "Plays recorded lines at the pace of their timestamps.",
        usage: "hub-replay [--speed <number>|max] [<option> ...] [<input> ...]",
        discussion: """
            Each INPUT is a file or FIFO of message lines of either form, '-' is standard
            input, which is also the default. They are played one after the other. The
            first line leaves at once, each further one when as much time has passed,
            divided by --speed, as lies between the timestamps (header.timestamp). A line
            without a timestamp, or older than one before it, follows at once.

            With --rename the lines of one node are played for another, or with --copies
            for many. The name changes in the envelope and wherever it is a whole segment
            of the resource; 'content' stays as it is. A hub drops versions that a node
            has: --shift-versions makes a second replay news again, and --id-suffix
            makes its messages other ones. Copies get ids of their own.

            On a terminal it shows how far it is.

            EXAMPLES
              hub-replay --speed 10 down.jsonl | hub run > up.jsonl
              hub-replay --speed max --shift-versions 1000000 --id-suffix -b down.jsonl
              hub-replay --node shop-1 --rename 'shop-1=load-{}' --copies 100 day.jsonl
              zcat day.jsonl.gz | hub-replay --speed 60 --max-gap 1

            SIGNALS
              SIGTERM  ends at a line boundary; what is not due yet is left out
              SIGUSR1  logs one line of counters

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .cannotCreate, .inputOutput, .noPermission]))
            """,
        version: hubVersion)

    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @Option(help: ArgumentHelp("Recorded seconds per second, or 'max' for as fast as lines are taken.", valueName: "number"))
    var speed = Speed(1)
    @Option(help: ArgumentHelp("Longest wait between two lines.", valueName: "seconds")) var maxGap: Seconds?
    @Option(help: ArgumentHelp("Play only the lines of this node.", valueName: "node")) var node: String?
    @Option(help: ArgumentHelp("Play only lines with this operation.", valueName: "operation")) var operation: String?
    @Option(
        help: ArgumentHelp(
            "Play the lines of node <from> for node <to>; '*' is every node, '{}' in <to> the number of the copy. Repeatable; the first that fits counts.",
            valueName: "from=to"))
    var rename: [Rename] = []
    @Option(help: ArgumentHelp("Play each renamed line for so many nodes, numbered from 0.", valueName: "number")) var copies = 1
    @Option(help: ArgumentHelp("Add this to resource versions.", valueName: "number")) var shiftVersions: UInt64 = 0
    @Option(parsing: .unconditional, help: ArgumentHelp("Put this behind message ids.", valueName: "text")) var idSuffix = ""
    @Flag(help: "Read all inputs at the same time, and play their lines as they come.") var merge = false
    @Flag(help: "Set timestamps to the time at which the line leaves.") var retime = false
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard (1...1_000_000).contains(copies) else { throw ValidationError("--copies must lie between 1 and 1000000") }
        guard copies == 1 || !rename.isEmpty && rename.allSatisfy(\.isNumbered) else {
            throw ValidationError("--copies needs a --rename whose new name holds '{}'")
        }
        for rename in rename where !NodeName.isValid(rename.name(copies - 1)) {
            throw ValidationError("--rename: '\(rename.to)' does not make valid node names (RFC 1123 subdomains)")
        }
        guard shiftVersions < 1 << 63 else { throw ValidationError("--shift-versions must be less than 2^63") }
        guard idSuffix.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x5c }) else {
            throw ValidationError("--id-suffix takes printable ASCII without blanks, quotes and backslashes")
        }
    }

    func run() throws {
        let logger = log.logger("hub-replay")
        let inputs = try lines.openInputs(input)
        let rejects = try lines.makeRejects(logger)
        let output = try outputs.open()
        var settings = Player.Settings()
        settings.node = node.map { Array($0.utf8) }
        settings.operation = operation.map { Array($0.utf8) }
        settings.renames = rename
        settings.copies = copies
        settings.change.versionShift = shiftVersions
        settings.change.idSuffix = Array(idSuffix.utf8)
        settings.retimes = retime
        let player = Player(settings: settings, pace: Pace(speed: speed.factor, longestGap: maxGap?.nanoseconds ?? .max))
        let stage = ReplayStage(
            player, inputCount: inputs.endingCount, merges: merge, output: output, rejects: rejects, logger: logger,
            showsProgress: isatty(2) == 1)
        try StageLoop(inputs: inputs, outputs: [output], rejects: rejects, reporter: outputs.reporter("replay", logger)).run(stage)
        stage.summarize()
    }
}

extension Rename: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

/// The value of `--speed`.
struct Speed: ExpressibleByArgument, CustomStringConvertible {
    /// Nil for `max`.
    let factor: Double?

    init(_ factor: Double?) { self.factor = factor }

    init?(argument: String) {
        if argument == "max" {
            factor = nil
        } else {
            guard let value = Double(argument), value > 0, value <= 1e6 else { return nil }
            factor = value
        }
    }

    var description: String { factor.map { $0 == $0.rounded() ? "\(Int($0))" : "\($0)" } ?? "max" }
    var defaultValueDescription: String { description }
}
