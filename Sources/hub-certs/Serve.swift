// hub-certs serve

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubPipe
internal import HubTLS
internal import Logging

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves CA, edge certificates and task reports over HTTPS.",
        discussion: """
              GET /ca.crt       the CA certificate, DER
              GET /edge.crt     a certificate for the node named in the header NodeName.
                                The certificate request, DER, is the body of the GET. It
                                needs the join token (Authorization: Bearer, without the
                                hash before the first dot) or the certificate of that node.
              GET /node/NODE    200 when NODE has a certificate, else 404; 404 also without
                                token or certificate
              POST /nodeupgrade, POST /task/TYPE/name/ID/node/NODE/status
                                a report of the node, which goes as one line to standard
                                output, for 'taskmanager'; needs the node's certificate
            A request is signed when its own signature verifies and its subject is
            CN=system:node:NODE, O=system:nodes. Nothing else that it asks for is granted.
            A certificate that is revoked, or has expired, is as good as none.
            Each signature is a line in issued.jsonl, on the disk before the answer leaves.

            Started as root with --user, it reads the files and opens the port first. It
            writes issued.jsonl and token as that user, to whom the directory must belong.
            What 'hub-certs prepare', run by root, makes there belongs to the owner of the
            directory, so 'chown' once is enough.

            With --no-shared-token only tokens for one node ('hub-certs token --node') are
            taken; the file 'token' is not renewed then, and 'keadm join' needs a token of
            its own for every node.

            EXAMPLES
              hub-certs serve --dir /etc/hub > tasks.jsonl
              hub-certs serve --dir /etc/hub --user hub-certs > tasks.jsonl
              curl --cacert rootCA.crt https://hub.example.com:10002/ca.crt -o ca.der
              curl --cacert rootCA.crt -X GET -H 'NodeName: edge-0' \\
                -H "Authorization: Bearer $(cut -d. -f2- token)" \\
                --data-binary @csr.der https://hub.example.com:10002/edge.crt -o edge.der

            SIGNALS
              SIGTERM  answers the requests that have begun, ends
              SIGHUP   reads CAs, keys, server certificate and revocations again; keeps
                       the old ones if the new ones cannot be used
              SIGUSR1  logs one line of counters

            \(ExitStatus.help([.success, .usage, .noInput, .internalFault, .cannotCreate, .inputOutput, .noPermission, .configuration]))
            """)

    @OptionGroup var directory: DirectoryOption
    @Option(
        help: ArgumentHelp(
            "Address to listen on, '<address>:<port>' or '[<address>]:<port>'; port 0 takes a free one. Its variable is HUB_CERTS_LISTEN.",
            valueName: "address"))
    var listen: String = Environment.option("certs-listen", "0.0.0.0:10002")
    @Option(help: ArgumentHelp("Write the port to this file once it is open.", valueName: "file"))
    var printPort: String?
    @Option(help: ArgumentHelp("Validity of a node's certificate.", valueName: "days"))
    var edgeDays: Int64 = Environment.option("edge-days", 365)
    @Option(
        help: ArgumentHelp(
            "Time after its expiry in which a node's certificate still renews itself, and does nothing else.", valueName: "seconds"))
    var renewalGrace: Seconds = Environment.option("renewal-grace", Seconds(0))
    @Option(help: ArgumentHelp("Time by which a token may have expired.", valueName: "seconds"))
    var tokenLeeway: Seconds = Environment.option("token-leeway", Seconds(0))
    @Flag(inversion: .prefixedNo, help: "Take tokens that are not for one node.")
    var sharedToken = true
    @OptionGroup var token: TokenOption
    @OptionGroup(title: "Privileges") var privilege: PrivilegeOptions
    @OptionGroup(title: "Bounds") var bounds: CertsBounds
    @OptionGroup(title: "Start") var start: ReadinessOption
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard (1...36_400).contains(edgeDays) else { throw ValidationError("--edge-days must lie between 1 and 36400") }
    }

    func run() throws {
        let logger = log.logger("hub-certs")
        guard let (host, port) = CertsServer.parse(listen) else {
            throw Failure(.usage, "--listen: '\(listen)' is not <address>:<port>")
        }
        let privileges = try privilege.account()
        let notice = try start.notice(logger)
        OpenFiles.raiseLimit()
        var settings = bounds.settings
        settings.edgeDays = edgeDays
        settings.renewalGrace = renewalGrace.nanoseconds / 1_000_000_000
        settings.tokenLeeway = tokenLeeway.nanoseconds / 1_000_000_000
        settings.takesSharedTokens = sharedToken
        let store = directory.store
        let admitsExpired = settings.renewalGrace > 0
        let files = try orFail("") { () throws(CertsError) in try ServedFiles(store, admitsExpired: admitsExpired) }
        var known = IssuedNodes(capacity: settings.maxNodes, perMinute: settings.nodeRate)
        var spent = SpentTokens()
        let start = wallMicroseconds() / 1_000_000
        try orFail("") { () throws(CertsError) in
            try IssuedLog(store).endLastLine()
            try IssuedLog(store).forEachRecord { record in
                known.restore(record.node)
                if let token = record.token, token.expiry > start { _ = spent.spend(token.id, expiry: token.expiry, now: start) }
            }
        }

        let wakePipe = try WakePipe()
        let output = try outputs.open()
        var socket: ListeningSocket?
        if let privileges {
            let open = try ListeningSocket(host: host, port: port, backlog: CertsServer.backlog)
            if let printPort { try AtomicFile.write(Array("\(open.port)\n".utf8), to: printPort) }
            try privileges.drop()
            try orFail("") { () throws(CertsError) in try store.checkWritable(as: privileges.name) }
            socket = open
        }
        // Signals are blocked here, before the event loop's thread starts and inherits that.
        let loop = try StageLoop(
            inputs: [wakePipe.reader()], outputs: [output], rejects: try Rejects(path: nil, isStrict: false) { _ in },
            reporter: outputs.reporter("certs", logger), notice: notice)
        let counters = CertsCounters()
        let outbox = TaskOutbox(limit: settings.maxUnsent) { wakePipe.wake() }
        let server = CertsServer(settings: settings, counters: counters, outbox: outbox) { logger.log($0) }
        let keeper = Keeper(
            store: store, authority: files.authorities.signing, refresh: sharedToken ? token.refresh : nil, admitsExpired: admitsExpired,
            server: server, privileges: privileges, logger: logger)
        keeper.renewToken()
        let bound = try orFail("") { () throws(CertsError) in
            try server.start(host: host, port: port, socket: socket, store: store, files: files, known: known, spent: spent)
        }
        if let printPort, socket == nil { try AtomicFile.write(Array("\(bound)\n".utf8), to: printPort) }
        if let privileges { logger.info("privileges_dropped", metadata: ["user": "\(privileges.name)"]) }
        logger.info("listening", metadata: ["address": "\(host)", "port": "\(bound)", "nodes": "\(known.count)"])
        let stage = CertsStage(
            server: server, counters: counters, outbox: outbox, output: output, drain: settings.requestTimeout,
            onReload: { keeper.reload() }, onMinute: { keeper.renewToken() })
        try loop.run(stage)
        server.stop()
    }
}

/// What the poll loop does beside the requests; used by its thread alone.
private final class Keeper {
    private let store: CertificateStore
    private var authority: Authority
    /// Seconds; nil leaves the file `token` alone.
    private let refresh: Int64?
    private let admitsExpired: Bool
    private let server: CertsServer
    private let privileges: Privileges?
    private let logger: Logger

    init(
        store: CertificateStore, authority: Authority, refresh: Int64?, admitsExpired: Bool, server: CertsServer, privileges: Privileges?,
        logger: Logger
    ) {
        self.store = store
        self.authority = authority
        self.refresh = refresh
        self.admitsExpired = admitsExpired
        self.server = server
        self.privileges = privileges
        self.logger = logger
    }

    /// Writes a new token when it is time; if that fails, the next minute brings another attempt.
    func renewToken() {
        guard let refresh else { return }
        do throws(CertsError) {
            let state = try store.renewToken(authority, refresh: refresh, now: wallMicroseconds() / 1_000_000)
            if let reason = state.reason { logger.info("token_renewed", metadata: ["reason": "\(reason)"]) }
        } catch {
            logger.error("token_failed", metadata: ["reason": "\(error.description)"])
        }
    }

    func reload() {
        do throws(CertsError) {
            let files = try ServedFiles(store, admitsExpired: admitsExpired)
            server.replace(files)
            authority = files.authorities.signing
            logger.notice(
                "reloaded",
                metadata: ["authorities": "\(1 + files.authorities.others.count)", "revocations": "\(files.revocations.count)"])
        } catch {
            let hint = error.code == .permission ? privileges.map { " (\($0.hint))" } ?? "" : ""
            logger.error("reload_failed", metadata: ["reason": "\(error.description)\(hint)"])
            return
        }
        renewToken()
    }
}
