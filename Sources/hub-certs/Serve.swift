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
            Each signature is a line in issued.jsonl, on the disk before the answer leaves.

            EXAMPLES
              hub-certs serve --dir /etc/hub > tasks.jsonl
              curl --cacert rootCA.crt https://hub.example.com:10002/ca.crt -o ca.der
              curl --cacert rootCA.crt -X GET -H 'NodeName: edge-0' \\
                -H "Authorization: Bearer $(cut -d. -f2- token)" \\
                --data-binary @csr.der https://hub.example.com:10002/edge.crt -o edge.der

            SIGNALS
              SIGTERM  answers the requests that have begun, ends
              SIGHUP   reads CA, keys and server certificate again; keeps the old ones if
                       the new ones cannot be used
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
    @OptionGroup var token: TokenOption
    @OptionGroup(title: "Bounds") var bounds: CertsBounds
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard (1...36_400).contains(edgeDays) else { throw ValidationError("--edge-days must lie between 1 and 36400") }
    }

    func run() throws {
        let logger = log.logger("hub-certs")
        guard let (host, port) = CertsServer.parse(listen) else {
            throw Failure(.usage, "--listen: '\(listen)' is not <address>:<port>")
        }
        OpenFiles.raiseLimit()
        var settings = bounds.settings
        settings.edgeDays = edgeDays
        let store = directory.store
        let (authority, context) = try orFail("") { () throws(CertsError) in (try store.authority(), try store.serverContext()) }
        var known = IssuedNodes(capacity: settings.maxNodes, perMinute: settings.nodeRate)
        try orFail("") { () throws(CertsError) in try IssuedLog(store).forEachNode { known.restore($0) } }

        let wakePipe = try WakePipe()
        let output = try LineWriter.standardOutput()
        // Signals are blocked here, before the event loop's thread starts and inherits that.
        let loop = try StageLoop(
            inputs: [wakePipe.reader()], outputs: [output], rejects: try Rejects(path: nil, isStrict: false) { _ in })
        let counters = CertsCounters()
        let outbox = TaskOutbox(limit: settings.maxUnsent) { wakePipe.wake() }
        let server = CertsServer(settings: settings, counters: counters, outbox: outbox) { logger.log($0) }
        let keeper = Keeper(store: store, authority: authority, refresh: token.refresh, server: server, logger: logger)
        keeper.renewToken()
        let bound = try orFail("") { () throws(CertsError) in
            try server.start(host: host, port: port, store: store, authority: authority, context: context, known: known)
        }
        if let printPort { try AtomicFile.write(Array("\(bound)\n".utf8), to: printPort) }
        logger.info("listening", metadata: ["address": "\(host)", "port": "\(bound)", "nodes": "\(known.count)"])
        let stage = CertsStage(
            server: server, outbox: outbox, output: output, drain: settings.requestTimeout,
            onReload: { keeper.reload() },
            onReport: {
                var values = counters.all
                values.append((name: "open", value: server.openConnections))
                logger.notice("counters", metadata: Logger.Metadata(uniqueKeysWithValues: values.map { ($0.name, "\($0.value)") }))
            },
            onMinute: { keeper.renewToken() })
        try loop.run(stage)
        server.stop()
    }
}

/// What the poll loop does beside the requests; used by its thread alone.
private final class Keeper {
    private let store: CertificateStore
    private var authority: Authority
    private let refresh: Int64
    private let server: CertsServer
    private let logger: Logger

    init(store: CertificateStore, authority: Authority, refresh: Int64, server: CertsServer, logger: Logger) {
        self.store = store
        self.authority = authority
        self.refresh = refresh
        self.server = server
        self.logger = logger
    }

    /// Writes a new token when it is time; if that fails, the next minute brings another attempt.
    func renewToken() {
        do throws(CertsError) {
            let state = try store.renewToken(authority, refresh: refresh, now: wallMicroseconds() / 1_000_000)
            if let reason = state.reason { logger.info("token_renewed", metadata: ["reason": "\(reason)"]) }
        } catch {
            logger.error("token_failed", metadata: ["reason": "\(error.description)"])
        }
    }

    func reload() {
        do throws(CertsError) {
            let authority = try store.authority()
            server.replace(authority, try store.serverContext())
            self.authority = authority
            logger.notice("reloaded")
        } catch {
            logger.error("reload_failed", metadata: ["reason": "\(error.description)"])
            return
        }
        renewToken()
    }
}
