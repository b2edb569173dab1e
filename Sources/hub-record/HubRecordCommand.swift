// hub-record: keeps lines in files that hub-replay plays.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe

@main
enum Main {
    static func main() { runProgram(HubRecordCommand.self) }
}

struct HubRecordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-record",
        abstract: "Keeps message lines in files, one after the other.",
        usage: "hub-record --dir <directory> [<option> ...] [<input> ...]",
        discussion: """
            Each INPUT is a file or FIFO of message lines of either form, '-' is standard
            input, which is also the default. Lines are appended, as they came, to files
            <name>-<time>-<number>.jsonl in --dir. A file that would grow beyond
            --max-size, or is older than --max-age, is followed by the next one; with
            --keep only the newest ones stay. Sorted by name the files are in order:
            'hub-replay DIR/NAME-*.jsonl' plays them.

            With --pass the lines also go to standard output, after they were recorded,
            so that a pipeline can be recorded in its middle.

            EXAMPLES
              hub-dispatch down < down.jsonl | hub-record --dir rec --name routed
              hub-dispatch down | hub-record --dir rec --pass | hub-queue --state queue.db
              hub-record --dir rec --max-size 64MiB --keep 10 < live.fifo

            SIGNALS
              SIGTERM  takes what is there, ends; every file is on the disk
              SIGUSR1  logs one line of counters

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .cannotCreate, .inputOutput, .noPermission]))
            """,
        version: hubVersion)

    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @Option(help: ArgumentHelp("Directory of the files, made if it is not there.", valueName: "directory")) var dir: String
    @Option(help: ArgumentHelp("What the files' names begin with.", valueName: "name")) var name = "record"
    @Option(help: ArgumentHelp("Size at which the next file begins.", valueName: "bytes")) var maxSize = ByteCount.mebi(64)
    @Option(help: ArgumentHelp("Age at which the next file begins.", valueName: "seconds")) var maxAge: Seconds?
    @Option(help: ArgumentHelp("Finished files that stay; older ones of this name are removed.", valueName: "number")) var keep: Int?
    @Flag(help: "Write the lines to standard output as well.") var pass = false
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard !dir.isEmpty else { throw ValidationError("--dir must not be empty") }
        guard !name.isEmpty, !name.contains("/") else { throw ValidationError("--name must be the beginning of a file's name") }
        guard maxSize.bytes >= 1024 else { throw ValidationError("--max-size must be at least 1 KiB") }
        guard maxAge?.milliseconds ?? 1 > 0 else { throw ValidationError("--max-age must be more than 0") }
        guard keep ?? 1 >= 1 else { throw ValidationError("--keep must be at least 1") }
    }

    func run() throws {
        let logger = log.logger("hub-record")
        let inputs = try lines.openInputs(input)
        let rejects = try lines.makeRejects(logger)
        let output = pass ? try outputs.open() : nil
        let files = try RecordFiles(directory: dir, name: name, maxSize: maxSize.bytes, maxAge: maxAge?.nanoseconds, keep: keep)
        let stage = RecordStage(files, inputCount: inputs.endingCount, output: output, rejects: rejects, logger: logger)
        try StageLoop(inputs: inputs, outputs: output.map { [$0] } ?? [], rejects: rejects, reporter: outputs.reporter("record", logger))
            .run(stage)
        stage.summarize()
    }
}
