// The queue itself, the command that runs without a subcommand.

internal import ArgumentParser
internal import HubCommand
internal import HubDelivery
internal import HubPipe
internal import HubQueue
internal import HubStore
internal import Logging

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the queue. This is what hub-queue does without a subcommand.",
        usage: "hub-queue [<input> ...] --state <file> [--feedback <path>] [<option> ...]",
        discussion: """
            Each INPUT is a file or FIFO of lines as hub-dispatch down writes them, '-' is
            standard input, which is also the default. What a connected node is to get
            goes to standard output, with its session, for hub-wsserve; what it must
            acknowledge is kept in --state until it has. --feedback is where hub-dispatch
            up writes acknowledgements, refusals and connections. Without it, the input is
            stored and the program ends; with it, it serves on after the end of the input.
            A message is on disk a few milliseconds after it was read. With --receipts the
            program says so: one line {"msg_id","node","key","version","fate"} for each
            message that must be acknowledged, in the order of arrival, once its fate is
            on disk:
              accepted    it is on disk, or its node has acknowledged it already
              superseded  a newer one of its key came before it was on disk, and is there
              stale       not needed: not newer than the pending or the acknowledged
                          version, behind the deletion of its key, or a reply ("reply"
                          in its envelope) to a node that is offline
              refused     its envelope is bad; "reason" says why
            A reply is accepted for the session of its node only, and never on disk. While
            nobody takes the receipts, they wait in memory, then in an unnamed file; past
            both bounds the input waits, and all else goes on.
            A state file of an older hub-queue is upgraded when it is opened, and an older
            hub-queue then refuses it; one of a newer hub-queue is refused. A damaged file
            ends the program with 78 and stays as it is, unless --set-aside-damaged is
            given. With the file goes what it held: what nodes had yet to get, which the
            controllers must send again, and which versions they have.

            EXAMPLES
              hub-dispatch down | hub-queue --state queue.db --feedback feedback.fifo | hub-wsserve ...
              hub-queue --state queue.db < down.jsonl
              hub-queue list --state queue.db | jq -r .key

            SIGNALS
              SIGTERM  stores what was read, ends
              SIGUSR1  logs one line of counters

            \(ExitStatus.help([
                .success, .usage, .malformedInput, .noInput, .internalFault, .cannotCreate, .inputOutput, .temporary, .noPermission,
                .configuration,
            ]))
            """)

    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @OptionGroup var state: StateOption
    @Flag(
        help: """
            If the state file is damaged, rename it to <file>.damaged-<seconds> and begin with an empty one. The whole file is looked at first, a \
            second per gigabyte.
            """) var setAsideDamaged = false
    @Option(help: ArgumentHelp("FIFO or file with what nodes answered and which are connected.", valueName: "path"))
    var feedback: String?
    @Option(help: ArgumentHelp("Most messages of one node that wait for its acknowledgement.", valueName: "messages"))
    var window = Environment.option("window", 64)
    @Option(help: ArgumentHelp("Most bytes of them; a larger message goes alone.", valueName: "bytes"))
    var windowBytes: ByteCount = Environment.option("window-bytes", .mebi(1))
    @Option(help: ArgumentHelp("Time after which a message without acknowledgement is sent again.", valueName: "seconds"))
    var ackTimeout: Seconds = Environment.option("ack-timeout", Seconds(5))
    @Option(help: ArgumentHelp("Sends before a message backs off, for 1 second first, doubling up to 5 minutes.", valueName: "sends"))
    var attempts = Environment.option("attempts", 5)
    @Option(help: ArgumentHelp("Time between two questions to the transport which nodes are connected.", valueName: "seconds"))
    var reconcile: Seconds = Environment.option("reconcile", Seconds(30))
    @Option(help: ArgumentHelp("Longest wait for a commit under load.", valueName: "seconds"))
    var commitDelay: Seconds = Environment.option("commit-delay", Seconds(argument: "0.005") ?? Seconds(0))
    @Option(help: ArgumentHelp("Memory for messages; what is more stays on disk.", valueName: "bytes"))
    var maxMemory: ByteCount = Environment.option("max-memory", .mebi(256))
    @Option(help: ArgumentHelp("FIFO or file (appended) for a receipt of each message that must be acknowledged.", valueName: "path"))
    var receipts: String?
    @Option(help: ArgumentHelp("Bytes of receipts that may wait in memory for a slow reader.", valueName: "bytes"))
    var receiptsHold: ByteCount = Environment.option("receipts-hold", .mebi(4))
    @Option(help: ArgumentHelp("Bytes of receipts that may then wait in an unnamed file.", valueName: "bytes"))
    var receiptsSpill: ByteCount = Environment.option("receipts-spill", .gibi(1))
    @Option(help: ArgumentHelp("Directory of that file.", valueName: "directory"))
    var spillDir: String = Environment.option("spill-dir", "/var/tmp")
    @Option(
        help: ArgumentHelp(
            "Keep a list of the nodes with messages in flight in this file, as JSON lines, renewed every 10 seconds.", valueName: "file"))
    var status: String?
    @Flag(help: "End when the input has ended, some node has been online, and nothing is pending for any node that is.")
    var exitWhenDrained = false
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Start") var start: StartOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard (1...1_000_000).contains(window) else { throw ValidationError("--window must lie between 1 and 1000000") }
        guard windowBytes.bytes > 0 else { throw ValidationError("--window-bytes must be at least 1") }
        guard ackTimeout.milliseconds >= 10 else { throw ValidationError("--ack-timeout must be at least 0.01 seconds") }
        guard (1...1000).contains(attempts) else { throw ValidationError("--attempts must lie between 1 and 1000") }
        guard reconcile.milliseconds >= 10 else { throw ValidationError("--reconcile must be at least 0.01 seconds") }
        guard commitDelay.milliseconds <= 1000 else { throw ValidationError("--commit-delay must be at most 1 second") }
        guard maxMemory.bytes >= 1 << 20 else { throw ValidationError("--max-memory must be at least 1 MiB") }
        guard feedback != "-" || !input.isEmpty && !input.contains("-") else {
            throw ValidationError("standard input cannot be both input and feedback")
        }
    }

    func run() throws {
        let logger = log.logger("hub-queue")
        let notice = try start.notice(logger)
        var inputs = try lines.openInputs(input)
        let rejects = try lines.makeRejects(logger)
        let output = try outputs.open()
        var feedbackHolder: LineWriter?
        if let feedback {
            inputs.insert(try LineReader.open(feedback, maxLine: lines.maxLine.bytes), at: 0)
            // An end of its own keeps the FIFO from ending when the program that writes it is restarted.
            if isFIFO(feedback) { feedbackHolder = try LineWriter.open(feedback) }
        }
        let receipts = try openReceipts(logger)
        // Before the state file is opened, which may take a while: from here on signals wait for the loop.
        let loop = try StageLoop(
            inputs: inputs, outputs: [output] + (receipts.map { [$0.writer] } ?? []), rejects: rejects,
            reporter: outputs.reporter("queue", logger), notice: notice)
        let store = try openStore()
        let stage = try reporting { () throws(StoreError) in
            try QueueStage(
                settings: settings(inputCount: inputs.endingCount), store: store, output: output, receipts: receipts,
                now: monotonicNanoseconds(), notify: { logger.log($0) })
        }
        do throws(PipeError) {
            try withExtendedLifetime(feedbackHolder) { () throws(PipeError) in try loop.run(stage) }
        } catch {
            if let failure = stage.failure { throw Failure(ExitStatus(failure), failure.description) }
            throw error
        }
    }

    private func openReceipts(_ logger: Logger) throws(PipeError) -> SpillWriter? {
        guard let path = receipts ?? Environment.optional("receipts", String.self) else { return nil }
        let writer = try logger.openOutput(path)
        // A line that a killed process left half written ends here.
        if !isEmptyFile(path) { writer.buffer.append(0x0a) }
        return SpillWriter(writer, hold: receiptsHold.bytes, limit: receiptsSpill.bytes, directory: spillDir)
    }

    private func isEmptyFile(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && status.st_size == 0
    }

    private func settings(inputCount: Int) -> DeliverySettings {
        var settings = DeliverySettings()
        settings.queue.window = window
        settings.queue.windowBytes = windowBytes.bytes
        settings.queue.ackTimeout = ackTimeout.nanoseconds
        settings.queue.attempts = attempts
        settings.queue.maxMemory = maxMemory.bytes
        settings.queue.reconcile = feedback == nil ? nil : reconcile.nanoseconds
        settings.hasFeedback = feedback != nil
        settings.inputCount = inputCount
        settings.commitDelay = commitDelay.nanoseconds
        settings.exitWhenDrained = exitWhenDrained
        settings.statusFile = status
        return settings
    }

    private func openStore() throws -> QueueStore {
        do throws(StoreError) {
            return try QueueStore.open(state.state, retainedMemory: maxMemory.bytes / 2, setsDamagedAside: setAsideDamaged)
        } catch {
            throw Failure(ExitStatus(error), error.description)
        }
    }

    private func isFIFO(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }
}

/// `--state`, of the queue and of the commands that look at it.
struct StateOption: ParsableArguments {
    @Option(help: ArgumentHelp("SQLite file that holds the state; the queue makes it if it is not there.", valueName: "file"))
    var state: String = Environment.option("state", "")

    func validate() throws {
        guard !state.isEmpty else { throw ValidationError("Missing expected argument '--state <file>'") }
    }
}
