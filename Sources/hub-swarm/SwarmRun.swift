// One run of a swarm, seen from the main thread: it starts the edges, waits for what the subcommand waits for, reports progress,
// listens to signals, and ends everything in order.

internal import HubCommand
internal import HubPipe
internal import HubSwarm
internal import Logging
internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

final class SwarmRun {
    let logger: Logger
    let settings: SwarmSettings
    private let swarm: Swarm
    private let options: SwarmOptions
    private let group: MultiThreadedEventLoopGroup
    private var access: Access
    private let watch: SignalWatch
    /// SIGTERM has come.
    var isTerminated: Bool { watch.isTerminated }
    private var nextProgress: Int64
    private var previous = SwarmFigures()
    private var previousTime: Int64

    /// Pause between two looks at the figures.
    private static let pause: Int32 = 20
    /// How long the end of the connections is waited for.
    private static let farewell: Int64 = 4_000_000_000

    /// - Parameter adjust: sets what is special to the subcommand.
    init(_ options: SwarmOptions, _ adjust: (inout SwarmSettings) -> Void) throws {
        let logger = options.log.logger("hub-swarm")
        self.logger = logger
        self.options = options
        // Before any thread starts, so that all of them leave the signals to this one.
        let watch = try SignalWatch()
        self.watch = watch
        let needed = options.nodes.nodes + 64 + 8 * options.threads
        let limit = OpenFiles.raiseLimit()
        guard limit >= needed else { throw Failure(.unavailable, "\(needed) open files are needed, the limit is \(limit) (ulimit -n)") }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: options.threads)
        let access = try Access.prepare(options, on: group, logger: logger) {
            watch.listen(milliseconds: Self.pause) {}
            return watch.isTerminated
        }
        guard let endpoint = options.endpoint else { throw Failure(.usage, "--hub must be <host>:<port>") }
        var settings = SwarmSettings(
            host: endpoint.host, port: endpoint.port, tls: access.tls,
            peerName: Access.peerName(options.serverName ?? endpoint.host), project: options.projectID, prefix: options.nodes.prefix,
            first: options.nodes.first, nodes: options.nodes.nodes)
        settings.parallel = options.connectParallel
        settings.sources = options.source?.list ?? []
        settings.handshakeTimeout = options.handshakeTimeout.amount
        settings.keepalive = options.keepalive.amount
        settings.reconnects = options.reconnect
        settings.resumes = options.resume
        settings.report = { cause, node, detail in
            logger.warning("failure", metadata: ["cause": "\(cause)", "node": "\(node)", "detail": "\(detail)"])
        }
        adjust(&settings)
        self.group = group
        self.access = access
        self.settings = settings
        swarm = try Swarm(settings, identities: access.identities, on: group)
        previousTime = monotonicNanoseconds()
        nextProgress = previousTime + 1_000_000_000
    }

    // MARK: Phases

    /// Connects all nodes, and returns once each is connected or given up, or `isEnough` holds.
    func connect(isEnough: (SwarmFigures) -> Bool = { _ in false }) throws -> SwarmFigures {
        try swarm.start()
        let nodes = settings.nodes
        let figures = try wait { figures, _ in figures.connected + figures.givenUp >= nodes || isEnough(figures) }
        let isWhole = figures.connected >= nodes
        logger.info("ready", metadata: ["connected": "\(figures.connected)", "nodes": "\(nodes)", "complete": "\(isWhole)"])
        return figures
    }

    func startFlood() throws { try swarm.startFlood() }

    func resetHandshakes() throws { try swarm.resetHandshakes() }

    /// Waits until `isOver` holds, or SIGTERM comes.
    /// - Parameter isOver: gets the figures and the monotonic time.
    func wait(until isOver: (SwarmFigures, Int64) throws -> Bool) throws -> SwarmFigures {
        while true {
            let figures = try swarm.figures()
            let now = monotonicNanoseconds()
            progress(figures, now)
            if isTerminated { return figures }
            if watch.takeHangUp() { try renew() }
            if try isOver(figures, now) { return figures }
            watch.listen(milliseconds: Self.pause) { report() }
        }
    }

    /// Closes all connections so that they can be made again.
    func disconnect() throws {
        try swarm.leave(forGood: false)
        _ = try wait { figures, _ in figures.connected == 0 }
    }

    /// Closes all connections for good.
    /// - Returns: the last figures, with `connected` as it was before.
    func finish() throws -> SwarmFigures {
        let before = try swarm.figures()
        try swarm.leave(forGood: true)
        let limit = monotonicNanoseconds() + Self.farewell
        var last = before
        repeat {
            _ = poll(nil, 0, 5)
            last = try swarm.figures()
        } while last.connected > 0 && monotonicNanoseconds() < limit
        last.connected = before.connected
        return last
    }

    // MARK: Certificates

    /// SIGHUP: a failure is reported, and the connections stay as they are.
    private func renew() throws {
        let start = monotonicNanoseconds()
        let watch = watch
        do {
            let (made, refused) = try access.renew(options, on: group) {
                watch.listen(milliseconds: Self.pause) {}
                return watch.isTerminated
            }
            if let tls = access.tls { try swarm.renew(made, tls: tls) }
            let milliseconds = (monotonicNanoseconds() - start) / 1_000_000
            logger.notice(
                "renewed", metadata: ["nodes": "\(made.count)", "refused": "\(refused)", "milliseconds": "\(milliseconds)"])
        } catch let failure as Failure {
            logger.error("renewal_failed", metadata: ["reason": "\(failure.message)"])
        }
    }

    // MARK: Progress

    private func report() {
        if let figures = try? swarm.figures() { logger.notice("counters", metadata: Self.counters(figures)) }
    }

    private func progress(_ figures: SwarmFigures, _ now: Int64) {
        guard now >= nextProgress else { return }
        nextProgress = now + 1_000_000_000
        let seconds = Double(now - previousTime) / 1e9
        var members = Self.counters(figures)
        members["rate"] = "\(Int(Double(figures.received - previous.received + figures.sent - previous.sent) / seconds))"
        logger.info("progress", metadata: members)
        previous = figures
        previousTime = now
    }

    private static func counters(_ figures: SwarmFigures) -> Logger.Metadata {
        [
            "connected": "\(figures.connected)", "received": "\(figures.received)", "distinct": "\(figures.distinct)",
            "duplicates": "\(figures.duplicates)", "acks": "\(figures.acks)", "sent": "\(figures.sent)",
            "reconnects": "\(figures.reconnects)", "errors": "\(figures.causes.counts.values.reduce(0, +))",
        ]
    }

    // MARK: The end

    /// The members that all figures begin with.
    func object(_ mode: String, _ figures: SwarmFigures) -> FigureObject {
        var object = FigureObject()
        object.add("mode", mode)
        object.add("nodes", settings.nodes)
        object.add("connected", figures.connected)
        return object
    }

    /// The members that all figures end with, and the output.
    func print(_ object: FigureObject, _ figures: SwarmFigures, isComplete: Bool) throws {
        var object = object
        object.add("keepalives", figures.keepalives)
        object.add("pings", figures.pings)
        object.add("lost", figures.lost)
        object.add("reconnects", figures.reconnects)
        object.add("errors", figures.causes)
        object.add("cpu_seconds", ProcessorTime.seconds)
        object.add("complete", isComplete)
        try object.print()
    }

    /// Ends the program unless the aim was met. SIGTERM ends it with status 0.
    func conclude(_ figures: SwarmFigures, isComplete: Bool, shortfall: String) throws {
        let causes = figures.causes.counts
        if let bad = ["protocol", "upgrade", "malformed"].first(where: { causes[$0] != nil }) {
            throw Failure(.protocolViolation, "the hub broke the protocol (\(bad)); see the log")
        }
        if isTerminated || isComplete { return }
        if figures.opened == 0, figures.connected == 0, let cause = causes.max(by: { $0.value < $1.value })?.key {
            let status: ExitStatus =
                switch cause {
                case "tls": .configuration
                case "http-401", "http-403": .noPermission
                case "http-503": .temporary
                case "tcp-refused", "tcp", "timeout", "reset", "eof": .unavailable
                default: .protocolViolation
                }
            throw Failure(status, "no node could connect to \(settings.host):\(settings.port) (\(cause))")
        }
        throw Failure(.temporary, shortfall)
    }
}
