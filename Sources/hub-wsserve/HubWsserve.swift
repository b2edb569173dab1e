// hub-wsserve: terminates mutual TLS and WebSocket; one live connection per node.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe
internal import HubServe
internal import HubTLS
internal import Logging

@main
enum Main {
    static func main() { runProgram(HubWsserve.self, readsConfig: true) }
}

struct HubWsserve: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-wsserve",
        abstract: "Serves edge nodes over mutual TLS and WebSocket; one live connection per node.",
        discussion: """
            Each INPUT is a file or FIFO, '-' is standard input, which is also the
            default. They hold lines for nodes (as hub-queue writes them, or plain lines)
            and the events 'who' and 'close'; they are always read. What nodes send comes
            out on standard output as lines of kind 'up', between the events 'connected'
            and 'disconnected' of their session. The end of an input does not end the
            program.

            A node is what its certificate says, CN=system:node:<node>, O=system:nodes;
            the header node_id must say the same. An authority in --ca may have signed it
            through intermediates, three at most, which the node sends.

            Connections are accepted at once; --max-handshakes of them are served at a time,
            of one address --max-handshakes-per-address, and the others wait. So an address
            that floods keeps nobody else out, and hundreds of nodes behind one address come
            back one after the other. Behind a proxy that has one address for all nodes,
            both bounds should be the same.

            Started as root with --user, it reads the files and opens the port first. On SIGHUP
            it reads the files as that user: then server.key must be readable for the user or
            its group (chgrp and chmod 640), and the directory searchable. rootCA.key is never
            read here, and that user should not be able to.

            EXAMPLES
              hub-wsserve --dir /etc/hub < send.jsonl > live.jsonl
              hub-wsserve --dir /etc/hub --listen 0.0.0.0:10000 - control.fifo
              hub-wsserve --dir /etc/hub --max-handshakes-per-address 256
              hub-wsserve --insecure --listen 127.0.0.1:0 --print-port port
              hub-wsserve --config /etc/kubeedge/config/cloudcore.yaml < send.jsonl
              hub-wsserve --dir /etc/hub --user hub-ws --listen 0.0.0.0:443 < send.jsonl

            SIGNALS
              SIGTERM  sends what waits, closes all connections with 1001, ends
              SIGHUP   reads certificate, key, CA and revocations again; closes the
                       connections that they no longer entitle, and no other
              SIGUSR1  logs one line of counters; while more than one CA is trusted, also
                       how many connections have a certificate of which

            \(ExitStatus.help([.success, .usage, .malformedInput, .noInput, .cannotCreate, .inputOutput, .noPermission, .configuration]))
            """,
        version: hubVersion)

    @Argument(help: "Files or FIFOs to read; '-' is standard input.") var input: [String] = []
    @OptionGroup(title: "Address and certificates") var place: PlaceOptions
    @OptionGroup(title: "Privileges") var privilege: PrivilegeOptions
    @OptionGroup(title: "Bounds") var bounds: BoundOptions
    @OptionGroup(title: "Input lines") var lines: LineOptions
    @OptionGroup(title: "Output") var outputs: OutputOptions
    @OptionGroup(title: "Start") var start: StartOptions
    @OptionGroup(title: "Log") var log: LogOptions

    func run() throws {
        let logger = log.logger("hub-wsserve")
        let (host, port) = try place.address()
        let privileges = try privilege.account()
        let notice = try start.notice(logger)
        let openFiles = OpenFiles.raiseLimit()
        let wakePipe = try WakePipe()
        let inputs = try [wakePipe.reader()] + lines.openInputs(input)
        let output = try outputs.open()
        let rejects = try lines.makeRejects(logger)
        var frameLines = lines
        frameLines.strict = false
        let frameRejects = try frameLines.makeRejects(logger)
        let trust = try place.insecure ? nil : place.trust()
        var socket: ListeningSocket?
        if let privileges {
            let open = try ListeningSocket(host: host, port: port, backlog: EdgeServer.backlog)
            if let file = place.printPort { try AtomicFile.write(Array("\(open.port)\n".utf8), to: file) }
            try privileges.drop()
            socket = open
        }
        // Signals are blocked here, before the event loops' threads start and inherit that.
        let loop = try StageLoop(
            inputs: inputs, outputs: [output], rejects: rejects, reporter: outputs.reporter("wsserve", logger), notice: notice)
        let settings = bounds.settings(place, openFiles: openFiles)
        let exchange = Exchange(settings: settings, counters: ServeCounters(), wake: { wakePipe.wake() }, log: { logger.log($0) })
        let server = EdgeServer(exchange: exchange, trust: trust)
        exchange.announce()
        let bound: Int
        do throws(ServeError) {
            bound = try server.start(host: host, port: port, socket: socket)
        } catch {
            throw Failure(error.code == .permission ? .noPermission : .cannotCreate, error.detail)
        }
        if let file = place.printPort, socket == nil { try AtomicFile.write(Array("\(bound)\n".utf8), to: file) }
        if let privileges { logger.info("privileges_dropped", metadata: ["user": "\(privileges.name)"]) }
        logger.info("listening", metadata: ["address": "\(host)", "port": "\(bound)", "tls": "\(trust != nil)"])
        let stage = ServeStage(
            exchange: exchange, server: server, output: output, frameRejects: frameRejects,
            onReload: { reload(server, privileges, logger) })
        try loop.run(stage)
        server.stop()
    }

    private func reload(_ server: EdgeServer, _ privileges: Privileges?, _ logger: Logger) {
        guard !place.insecure else { return }
        do {
            let trust = try place.trust()
            server.replace(trust)
            let counts = trust.counts
            logger.notice("reloaded", metadata: ["authorities": "\(counts.authorities)", "revocations": "\(counts.revocations)"])
        } catch {
            // Serving on with the old ones is better than not serving.
            let failure = error as? Failure
            let hint = failure?.status == .noPermission ? privileges.map { " (\($0.hint))" } ?? "" : ""
            let reason = (failure?.message ?? "\(error)") + hint
            logger.error("reload_failed", metadata: ["reason": "\(LogText.printable(reason))"])
        }
    }
}
