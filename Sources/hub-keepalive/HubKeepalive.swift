// hub-keepalive: notices nodes that have fallen silent and has them closed.

internal import ArgumentParser
internal import HubCommand
internal import HubKeepalive
internal import HubPipe

@main
enum Main {
    static func main() { runProgram(HubKeepaliveCommand.self, readsConfig: true) }
}

struct HubKeepaliveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-keepalive",
        abstract: "Notices nodes that have fallen silent and has them closed.",
        usage: "hub-keepalive --control <path> [<option> ...] [<input> ...]",
        discussion: """
            Each INPUT is a file or FIFO of lines as hub-wsserve writes them, '-' is
            standard input, which is also the default. Any line of a node is a sign of
            life. Messages with operation 'keepalive' end here; all else passes to
            standard output. A node that is silent for --timeout seconds gets a 'close'
            on --control, which hub-wsserve reads. Time in which this program could not
            read does not count as silence.

            EXAMPLES
              hub-wsserve ... | hub-keepalive --control control.fifo
              hub-keepalive --control control.fifo --config cloudcore.yaml
              hub-keepalive --control /dev/stderr --timeout 5 < recorded.jsonl

            SIGNALS
              SIGTERM  ends at a line boundary
              SIGUSR1  logs one line of counters and the nodes that are connected

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .cannotCreate, .inputOutput, .noPermission, .configuration]))
            """,
        version: hubVersion)

    @Option(help: ArgumentHelp("FIFO or file (appended) for 'close' and 'who', read by hub-wsserve.", valueName: "path"))
    var control: String
    @Option(help: ArgumentHelp("Silence after which a node is closed.", valueName: "seconds"))
    var timeout: Seconds = Environment.option("timeout", Seconds(30))
    @Option(
        help: ArgumentHelp(
            "Keep a list of the connected nodes in this file, as JSON lines, renewed every 10 seconds and on SIGUSR1.", valueName: "file"))
    var status: String?
    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Start") var start: StartOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard timeout.milliseconds >= 10 else { throw ValidationError("--timeout must be at least 0.01 seconds") }
    }

    func run() throws {
        let logger = log.logger("hub-keepalive")
        let notice = try start.notice(logger)
        let inputs = try lines.openInputs(input)
        let rejects = try lines.makeRejects(logger)
        let live = try outputs.open()
        let control = try logger.openOutput(control)
        let stage = KeepaliveStage(
            timeout: timeout.nanoseconds, inputCount: inputs.endingCount, live: live, control: control, statusFile: status,
            rejects: rejects,
            logger: logger)
        try StageLoop(
            inputs: inputs, outputs: [live, control], rejects: rejects, reporter: outputs.reporter("keepalive", logger), notice: notice
        ).run(
            stage)
    }
}
