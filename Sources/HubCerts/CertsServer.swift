// The listening side of `hub-certs serve`: one event loop, TLS, HTTP/1.1 and the connections.

internal import HubAccept
package import HubPipe
internal import HubTLS
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Synchronization

package final class CertsServer: Sendable {
    private let settings: CertsSettings
    private let counters: CertsCounters
    private let outbox: TaskOutbox
    private let notify: @Sendable (Notice) -> Void
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private let open = Shared(0)
    private let loop = Shared<NIOLoopBound<CertsLoop>?>(nil)
    private let listener = Shared<(any Channel)?>(nil)

    /// - Parameter notify: called from the event loop.
    package init(
        settings: CertsSettings, counters: CertsCounters, outbox: TaskOutbox, notify: @escaping @Sendable (Notice) -> Void
    ) {
        self.settings = settings
        self.counters = counters
        self.outbox = outbox
        self.notify = notify
        pool.start()
    }

    /// Connections that may wait to be accepted.
    package static let backlog: Int32 = 1024

    package var openConnections: Int { open.current }

    /// Splits `address:port` or `[address]:port`.
    /// - Returns: nil when `text` is neither.
    package static func parse(_ text: String) -> (host: String, port: Int)? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port) else {
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host == "localhost" { host = "127.0.0.1" }
        return SubjectName.address(parsing: host) == nil ? nil : (host, port)
    }

    /// Listens and serves.
    ///
    /// - Parameters:
    ///   - socket: taken over, if it is open already.
    ///   - files: what holds now.
    ///   - known: nodes that have got a certificate in an earlier run.
    ///   - spent: one-time tokens that were used in an earlier run.
    /// - Returns: the port, which the system chose if `port` was 0.
    package func start(
        host: String, port: Int, socket: ListeningSocket? = nil, store: CertificateStore, files: ServedFiles,
        known: IssuedNodes, spent: SpentTokens
    ) throws(CertsError) -> Int {
        let eventLoop = group.next()
        let (settings, counters, outbox, notify, open, pool) = (settings, counters, outbox, notify, open, pool)
        let channel: any Channel
        do {
            let bound = try eventLoop.submit {
                let service = CertsService(
                    authorities: files.authorities, nodes: known, spent: spent,
                    failures: FailureLimiter(limit: settings.tokenFailures, capacity: settings.maxAddresses),
                    rules: EnrollmentRules(settings, files.revocations), counters: counters, notify: notify)
                let journal = SigningJournal(log: IssuedLog(store), eventLoop: eventLoop, pool: pool, notify: notify)
                let loop = CertsLoop(
                    eventLoop: eventLoop, settings: settings, service: service, counters: counters, journal: journal, outbox: outbox,
                    context: files.context, open: open, notify: notify)
                return NIOLoopBound(loop, eventLoop: eventLoop)
            }.wait()
            loop.set(bound)
            let bootstrap = ServerBootstrap(group: eventLoop)
                .serverChannelOption(.backlog, value: Self.backlog)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .serverChannelOption(.autoRead, value: false)
                .serverChannelOption(.maxMessagesPerRead, value: AcceptGate.batch)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Self.gate(settings, counters, notify))
                    }
                }
                .childChannelOption(.maxMessagesPerRead, value: 4)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try Self.begin(channel, bound.value) }
                }
            channel = try (socket.map { bootstrap.withBoundSocket($0.raw) } ?? bootstrap.bind(host: host, port: port)).wait()
            socket?.restoreBacklog()
        } catch let error as IOError {
            let reason = "cannot listen on \(host):\(port): \(systemText(error.errnoCode))"
            throw CertsError(error.errnoCode == 13 ? .permission : .listen, reason)
        } catch {
            throw CertsError(.listen, "cannot listen on \(host):\(port): \(error)")
        }
        listener.set(channel)
        return channel.localAddress?.port ?? port
    }

    private static func gate(
        _ settings: CertsSettings, _ counters: CertsCounters, _ notify: @escaping @Sendable (Notice) -> Void
    ) -> AcceptGate {
        let limits = AcceptLimits(
            active: settings.maxConnections, perAddress: settings.maxConnectionsPerAddress, waiting: settings.maxWaiting,
            open: settings.maxConnections + settings.maxWaiting)
        return AcceptGate(
            limits: limits, isPaused: { false },
            report: { event, _ in
                switch event {
                case .accepted: counters.add(.accepted)
                case .refusedWaiting, .refusedOpen: counters.add(.refusedConnections)
                case .failed(let error): notify(Notice(.warning, "accept_failed", ["reason": "\(error)"]))
                }
            })
    }

    private static func begin(_ channel: any Channel, _ loop: CertsLoop) throws {
        let connection = CertsConnection(loop)
        guard loop.add(connection) else { return channel.close(promise: nil) }
        do {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(TLSHandler.server(loop.context))
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = 8 << 10
            limits.maxHeaderListSize = 32 << 10
            limits.maxHeaderFieldCount = 100
            try pipeline.addHandler(HTTPResponseEncoder())
            try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits)))
            try pipeline.addHandler(HTTPServerPipelineHandler())
            try pipeline.addHandler(HTTPServerProtocolErrorHandler())
            try pipeline.addHandler(connection)
        } catch {
            loop.remove(connection)
            throw error
        }
    }

    /// New connections and signatures use these, from the return of the call on. Not for the event loop.
    package func replace(_ files: ServedFiles) {
        guard let bound = loop.current else { return }
        let settings = settings
        try? bound.eventLoop.submit {
            bound.value.service.authorities = files.authorities
            bound.value.service.rules = EnrollmentRules(settings, files.revocations)
            bound.value.context = files.context
            bound.value.retire()
        }.wait()
    }

    /// Stops accepting; connections end once the request that they are at is answered.
    package func beginShutdown() {
        listener.current?.close(promise: nil)
        guard let bound = loop.current else { return }
        bound.eventLoop.execute { bound.value.drain() }
    }

    /// Ends the event loop; nothing may be used after it.
    package func stop() {
        try? group.syncShutdownGracefully()
        try? pool.syncShutdownGracefully()
    }
}
