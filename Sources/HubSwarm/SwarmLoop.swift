// The nodes of one event loop: connects them, some at once, counts what they see, and connects them again.
// Everything here runs on that event loop.

internal import HubMessage
internal import HubPipe
internal import HubTLS
internal import NIOCore
internal import NIOPosix

final class SwarmLoop {
    let eventLoop: any EventLoop
    let settings: SwarmSettings
    var random = FastRandom()
    var figures = SwarmFigures()

    private let nodes: [EdgeNode]
    /// Nil for plain `ws://`.
    private var tls: TLSContext?
    private var seen: SeenSet
    private var waiting = CircularBuffer<EdgeNode>()
    private var connecting = 0
    private var isStopping = false
    private let patienceEnds: NIODeadline
    private var reported: Set<String> = []
    private(set) var activeFlood: FloodPlan?
    private var floodStart = NIODeadline.now()

    /// Longest wait between two attempts of a node.
    private static let maxBackoff = TimeAmount.seconds(5)

    /// - Parameters:
    ///   - indices: the nodes of this loop.
    ///   - remembered: most messages that are remembered here.
    init(_ eventLoop: any EventLoop, _ settings: SwarmSettings, nodes: [EdgeNode], remembered: Int) {
        self.eventLoop = eventLoop
        self.settings = settings
        self.nodes = nodes
        tls = settings.tls
        seen = SeenSet(limit: remembered)
        patienceEnds = .now() + settings.patience
    }

    // MARK: Connecting

    /// Connects every node that is not.
    func start() {
        for node in nodes where node.connection == nil && !node.isGivenUp { waiting.append(node) }
        connectMore()
    }

    /// Begins a round of its own for the figures of handshakes.
    func resetHandshakes() {
        figures.opened = 0
        figures.resumed = 0
        figures.handshakes = LatencyHistogram()
    }

    private func connectMore() {
        while !isStopping, connecting < settings.parallel, let node = waiting.popFirst() { connect(node) }
    }

    private func connect(_ node: EdgeNode) {
        connecting += 1
        let started = monotonicNanoseconds()
        let tls: TLSHandler?
        do throws(TLSError) {
            tls = try self.tls.map { context throws(TLSError) in
                try TLSHandler.client(
                    context, peerName: settings.peerName, identity: node.identity, session: settings.resumes ? node.session : nil)
            }
        } catch {
            connecting -= 1
            return failed(node, wasOpen: false, "tls", error.detail)
        }
        let handler = EdgeHandler(node, owner: self, tls: tls, started: started)
        node.connection = handler
        let handlers = NIOLoopBound((tls, handler), eventLoop: eventLoop)
        var bootstrap = ClientBootstrap(group: eventLoop).channelOption(.tcpOption(.tcp_nodelay), value: 1)
        if !settings.sources.isEmpty {
            bootstrap = bootstrap.bind(to: settings.sources[node.index % settings.sources.count])
        }
        if handler.isSlow {
            bootstrap =
                bootstrap.channelOption(.maxMessagesPerRead, value: 1)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: EdgeHandler.slowBytes))
        }
        bootstrap
            .connectTimeout(settings.handshakeTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (tls, handler) = handlers.value
                    if let tls { try channel.pipeline.syncOperations.addHandler(tls) }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .connect(host: settings.host, port: settings.port)
            .assumeIsolated()
            .whenFailure { error in
                // A channel that never was active does not tell its handlers that it ended.
                let name = FailureName.of(error)
                handler.end(name.cause, name.detail)
                self.ended(handler)
            }
    }

    /// The upgrade of `node` succeeded.
    func opened(_ node: EdgeNode, microseconds: Int64, isResumed: Bool) {
        connecting -= 1
        figures.connected += 1
        figures.opened += 1
        if isResumed { figures.resumed += 1 }
        if node.isLost { figures.reconnects += 1 }
        node.isLost = false
        figures.handshakes.record(microseconds)
        figures.lastOpened = monotonicNanoseconds()
        node.wasOpen = true
        node.failures = 0
        if activeFlood != nil { node.connection?.flood() }
        connectMore()
    }

    /// A connection, or the attempt to make one, is over.
    func ended(_ handler: EdgeHandler) {
        let node = handler.node
        guard node.connection === handler else { return }
        node.connection = nil
        if handler.hasOpened { figures.connected -= 1 } else { connecting -= 1 }
        if node.isRenewed, !isStopping {
            node.isRenewed = false
            waiting.append(node)
        } else if let cause = handler.cause, !isStopping {
            failed(node, wasOpen: handler.hasOpened, cause.name, cause.detail)
        }
        connectMore()
    }

    private func failed(_ node: EdgeNode, wasOpen: Bool, _ cause: String, _ detail: String) {
        note(cause, node, detail)
        if wasOpen {
            figures.lost += 1
            node.isLost = true
        }
        tryAgain(node)
    }

    private func tryAgain(_ node: EdgeNode) {
        let may = node.wasOpen ? settings.reconnects : NIODeadline.now() < patienceEnds
        guard may else {
            node.isGivenUp = true
            figures.givenUp += 1
            if !node.isFlooded { figures.abandoned += 1 }
            return
        }
        node.failures += 1
        let base = min(Int64(100) << Int64(min(node.failures, 8)), Self.maxBackoff.nanoseconds / 1_000_000)
        let delay = TimeAmount.milliseconds(base / 2 + Int64(random.next() % UInt64(base)))
        eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, !isStopping, node.connection == nil else { return }
            waiting.append(node)
            connectMore()
        }
    }

    /// Has the nodes connect anew with other certificates, as an EdgeCore does that has renewed its own.
    func renew(_ identities: [Int: TLSIdentity], _ tls: TLSContext) {
        self.tls = tls
        for node in nodes {
            node.session = nil
            guard let identity = identities[node.index] else { continue }
            node.identity = identity
            guard let connection = node.connection else { continue }
            node.isRenewed = true
            figures.renewed += 1
            connection.leave()
        }
    }

    private func note(_ cause: String, _ node: EdgeNode, _ detail: String) {
        figures.causes.add(cause)
        if reported.count < Causes.limit, reported.insert(cause).inserted { settings.report(cause, node.name, detail) }
    }

    /// Closes all connections; nodes stay as they are, so that `start` can connect them again.
    /// - Parameter forGood: no further attempts.
    func leave(forGood: Bool) {
        isStopping = isStopping || forGood
        waiting.removeAll()
        for node in nodes { node.connection?.leave() }
    }

    // MARK: Counting

    func mask() -> UInt32 { UInt32(truncatingIfNeeded: random.next()) }

    func arrived(bytes: Int) {
        figures.received += 1
        figures.receivedBytes += bytes
        figures.lastReceived = monotonicNanoseconds()
        if figures.firstReceived == 0 { figures.firstReceived = figures.lastReceived }
    }

    func malformed(_ node: EdgeNode, _ detail: String) { note("malformed", node, detail) }

    /// Counts latency and identity of a message.
    /// - Parameter now: microseconds since 1970.
    func count(_ line: Line, on node: EdgeNode, now: Int64) {
        let index = line.index
        if index.content.value.isPresent, let sent = unsafe NumberMember.find("sent", in: line.raw(index.content.value)) {
            figures.latency.record(now - sent)
        }
        // A message is known by its object and version; one without object by its id. A delete has its object's version.
        var hash = MessageHash(UInt64(node.index))
        if index.content.uid.count > 0 {
            unsafe hash.add(line.raw(index.content.uid))
            unsafe hash.add(line.raw(index.header.resourceVersion))
            hash.add(line.equals(index.route.operation, "delete") ? 1 : 0)
        } else {
            unsafe hash.add(line.raw(index.header.messageID))
        }
        switch seen.insert(hash.value) {
        case .new: figures.distinct += 1
        case .seen: figures.duplicates += 1
        case .untracked: figures.untracked += 1
        }
    }

    // MARK: Flood

    func startFlood() {
        activeFlood = settings.flood
        floodStart = .now()
        figures.firstSent = monotonicNanoseconds()
        for node in nodes { node.connection?.flood() }
    }

    /// How many messages `node` may have sent by now, by the plan's rate.
    func sequenceLimit(of node: EdgeNode, _ plan: FloodPlan) -> Int {
        guard plan.rate > 0 else { return plan.count }
        let due = Double((NIODeadline.now() - floodStart).nanoseconds) / 1e9 * plan.rate
        // Turns go round: message s of node i is number s × nodes + i.
        let turns = (due - Double(node.index)) / Double(settings.nodes)
        return min(plan.count, max(0, Int(turns.rounded(.down)) + 1))
    }

    /// The time until the next message of `node` is due.
    func wait(for node: EdgeNode, _ plan: FloodPlan) -> TimeAmount {
        let due = Double(node.nextSequence * settings.nodes + node.index) / plan.rate
        let left = floodStart + .nanoseconds(Int64(due * 1e9)) - .now()
        return max(left, .milliseconds(1))
    }

    func sent(_ count: Int, bytes: Int, isLast: Bool, of node: EdgeNode) {
        figures.sent += count
        figures.sentBytes += bytes
        figures.lastSent = monotonicNanoseconds()
        if isLast { finishFlood(of: node) }
    }

    /// Messages were lost with their connection. A later connection goes on with the number that follows them.
    func lost(_ count: Int, isLast: Bool, of node: EdgeNode) {
        figures.unsent += count
        if isLast { finishFlood(of: node) }
    }

    private func finishFlood(of node: EdgeNode) {
        node.isFlooded = true
        figures.flooded += 1
    }
}
