// hub-dispatch up: lines from the nodes in; plain lines for controllers, and acknowledgements for the queue, out.

internal import ArgumentParser
internal import HubCommand
internal import HubDispatch
internal import HubPipe

struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Splits acknowledgements from data: edge to cloud.",
        usage: "hub-dispatch up --feedback <path> [<option> ...] [<input> ...]",
        discussion: """
            Each INPUT is a file or FIFO of lines as hub-keepalive writes them, '-' is
            standard input, which is also the default. Acknowledgements ('response'),
            refusals ('error') and events about connections go to --feedback, which hub-
            queue reads. Data and news of connections go to standard output in plain
            form: envelope removed, 'node/<node>/' put before the resource,
            'route.destination' set to csi, router, taskmanager, edgecontroller,
            dynamiccontroller or devicecontroller. While a reader is slow, up to --hold
            bytes wait in memory and up to --spill bytes in an unnamed file.

            With --policy node, a node may touch only what KubeEdge's authorization, when it
            is switched on, would let it touch: its own node object, node status, lease and
            task reports; status of pods; questions for single config maps, secrets, tokens
            and volumes; events and certificate requests. Anything else is refused. Only the
            path and the operation are judged, never the content: whether a pod runs on the
            node, or a secret is used by one of its pods, is not known here, so those pass.
            Twins and requests to the node's API server pass to their controllers.
            --policy-dry-run lets everything pass and logs what would be refused.

            EXAMPLES
              hub-dispatch up --feedback acks.jsonl < up.jsonl
              hub-dispatch up --feedback feedback.fifo --to devicecontroller=devices.fifo live.fifo
              hub-dispatch up --feedback feedback.fifo --config cloudcore.yaml live.fifo
              hub-dispatch up --feedback /dev/null --policy node --policy-dry-run < up.jsonl >/dev/null

            SIGNALS
              SIGTERM  ends at a line boundary
              SIGUSR1  logs one line of counters

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .cannotCreate, .inputOutput, .noPermission, .configuration]))
            """)

    @Option(help: ArgumentHelp("FIFO or file (appended) for acknowledgements and connection events.", valueName: "path"))
    var feedback: String
    @Option(
        name: .customLong("to"),
        help: ArgumentHelp("Send one destination to its own FIFO or file. Repeatable.", valueName: "module=path"))
    var routes: [ModulePath] = []
    @Option(
        name: .customLong("k8s-ca"),
        help: ArgumentHelp("Answer nodes that ask for 'k8s/ca.crt' with this PEM file.", valueName: "file"))
    var kubernetesCA: String?
    @Option(help: ArgumentHelp("Bytes that each output may hold in memory for a slow reader.", valueName: "bytes"))
    var hold: ByteCount = Environment.option("hold", .mebi(64))
    @Option(help: ArgumentHelp("Bytes that each output may then keep in an unnamed file.", valueName: "bytes"))
    var spill: ByteCount = Environment.option("spill", .gibi(4))
    @Option(help: ArgumentHelp("Directory of that file.", valueName: "directory"))
    var spillDir: String = Environment.option("spill-dir", "/var/tmp")
    @OptionGroup(title: "Policy") var policy: PolicyOptions
    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Start") var start: StartOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func run() throws {
        let logger = log.logger("hub-dispatch")
        let certificate: [UInt8]? =
            if let path = kubernetesCA ?? Environment.optional("k8s-ca", String.self) { try readFile(path, limit: 1 << 20) } else { nil }
        let notice = try start.notice(logger)
        let inputs = try lines.openInputs(input)
        let rejects = try lines.makeRejects(logger)
        func spilling(_ writer: LineWriter) -> SpillWriter {
            SpillWriter(writer, hold: hold.bytes, limit: spill.bytes, directory: spillDir)
        }
        let output = spilling(try outputs.open())
        let feedback = spilling(try logger.openOutput(feedback))
        var destinations: [UpstreamDispatcher.Module: SpillWriter] = [:]
        for route in routes {
            guard destinations[route.module] == nil else { throw Failure(.usage, "--to names \(route.module.rawValue) twice") }
            destinations[route.module] = spilling(try logger.openOutput(route.path))
        }
        let stage = UpStage(
            UpstreamDispatcher(certificate: certificate, policy: policy.mode), inputCount: inputs.endingCount, output: output,
            feedback: feedback, destinations: destinations, rejects: rejects, breaches: BreachLog(perSecond: policy.policyLog, logger),
            logger: logger)
        try StageLoop(
            inputs: inputs, outputs: stage.all.map(\.writer), rejects: rejects, reporter: outputs.reporter("up", logger), notice: notice
        ).run(
            stage)
    }
}

/// The value of `--to`.
struct ModulePath: ExpressibleByArgument {
    let module: UpstreamDispatcher.Module
    let path: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), let module = UpstreamDispatcher.Module(rawValue: String(argument[..<equals]))
        else { return nil }
        self.module = module
        path = String(argument[argument.index(after: equals)...])
        if path.isEmpty { return nil }
    }
}

/// A small file as bytes.
private func readFile(_ path: String, limit: Int) throws -> [UInt8] {
    let bytes = try Descriptor.contents(of: path, limit: limit)
    guard !bytes.isEmpty else { throw Failure(.configuration, "\(path) is empty") }
    return bytes
}
