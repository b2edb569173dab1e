// The listening side of hub-wsserve: event loops, the accepting socket, TLS and its renewal, and the end.

internal import HubAccept
package import HubPipe
internal import HubTLS
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A failed start.
package struct ServeError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// `--listen` is no address.
        case address
        /// The address cannot be listened on.
        case listen
        /// Listening on it is not permitted.
        case permission
    }

    package let code: Code
    package let detail: String

    package var description: String { detail }
}

package final class EdgeServer: Sendable {
    private let exchange: Exchange
    private let group: MultiThreadedEventLoopGroup
    private let parts: [LoopPart]
    private let listener = Mutex<(any Channel)?>(nil)
    private let lastNumber = Atomic<Int>(0)
    private let open = Atomic<Int>(0)
    private let isEnding = Atomic<Bool>(false)

    /// - Parameter trust: nil serves plain `ws://`.
    package init(exchange: Exchange, trust: ClientTrust?) {
        self.exchange = exchange
        exchange.trust.withLock { $0 = trust }
        group = MultiThreadedEventLoopGroup(numberOfThreads: exchange.settings.threads)
        parts = group.makeIterator().enumerated().map { LoopPart(index: $0.offset, eventLoop: $0.element) }
    }

    /// Connections that may wait to be accepted.
    package static let backlog: Int32 = 4096

    /// Cores of this machine.
    package static var coreCount: Int { System.coreCount }

    /// Connections, upgraded or not.
    package var openConnections: Int { open.load(ordering: .relaxed) }

    /// New handshakes use `trust`, and live sessions that it would not let in are closed.
    package func replace(_ trust: ClientTrust) {
        let earlier = exchange.trust.withLock { current in
            defer { current = trust }
            return current
        }
        guard let earlier else { return }
        for part in parts { part.post([.judge(trust, after: earlier)], to: exchange) }
    }

    /// While more than one authority is trusted, has the log say how many sessions depend on each.
    package func reportIssuers() {
        guard let trust = exchange.trust.withLock({ $0 }), trust.authorities.count > 1 else { return }
        for part in parts { part.post([.countIssuers], to: exchange) }
    }

    // MARK: Listening

    /// Splits `host:port` or `[host]:port`; the host is an address.
    package static func parse(_ text: String) throws(ServeError) -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port) else {
            throw ServeError(code: .address, detail: "'\(text)' is not <address>:<port>")
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host == "localhost" { host = "127.0.0.1" }
        guard (try? SocketAddress(ipAddress: host, port: port)) != nil else {
            throw ServeError(code: .address, detail: "'\(host)' is not an IP address")
        }
        return (host, port)
    }

    /// The address reaches this machine only.
    package static func isLoopback(_ host: String) -> Bool { host == "::1" || host.hasPrefix("127.") }

    /// Listens and accepts.
    /// - Parameter socket: taken over, if it is open already.
    /// - Returns: the port, which the system chose if `port` was 0.
    package func start(host: String, port: Int, socket: ListeningSocket? = nil) throws(ServeError) -> Int {
        let gate = NIOLoopBoundBox<AcceptGate?>.makeBoxSendingValue(nil, eventLoop: group.next())
        let exchange = exchange
        exchange.connect(parts: parts) {
            gate.eventLoop.execute { gate.value?.proceed() }
        }
        let bootstrap = ServerBootstrap(group: gate.eventLoop, childGroup: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.autoRead, value: false)
            .serverChannelOption(.maxMessagesPerRead, value: AcceptGate.batch)
            // Accepted sockets inherit these. The kernel takes little more than it can send, so what waits, waits here, where it is counted.
            .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .serverChannelOption(.tcpOption(.init(rawValue: CInt(TCP_NOTSENT_LOWAT))), value: 128 << 10)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptGate(
                        limits: exchange.settings.acceptLimits, isPaused: { exchange.isPaused }, report: { exchange.note($0, of: $1) })
                    gate.value = handler
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 32 << 10, high: 64 << 10))
            // The buffer of the last read stays with the channel: a burst must not leave 64 KiB with each of ten thousand.
            .childChannelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 1024, maximum: 16 << 10))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // The channel itself goes along, so that its identity is its own until then.
                    try self.begin(channel) { _ in gate.eventLoop.execute { gate.value?.finished(channel) } }
                }
            }
        let channel: any Channel
        do {
            channel = try (socket.map { bootstrap.withBoundSocket($0.raw) } ?? bootstrap.bind(host: host, port: port)).wait()
            socket?.restoreBacklog()
        } catch let error as IOError {
            let reason = "cannot listen on \(host):\(port): \(systemText(error.errnoCode))"
            throw ServeError(code: error.errnoCode == EACCES ? .permission : .listen, detail: reason)
        } catch {
            throw ServeError(code: .listen, detail: "cannot listen on \(host):\(port): \(error)")
        }
        listener.withLock { $0 = channel }
        let shortest = min(exchange.settings.stall, exchange.settings.ping > 0 ? exchange.settings.ping : .max)
        for part in parts { part.startTicking(max(10_000_000, min(500_000_000, shortest / 4)), exchange) }
        return channel.localAddress?.port ?? port
    }

    /// The pipeline of an accepted connection, before the upgrade.
    private func begin(_ channel: any Channel, _ handshakeEnded: @escaping @Sendable (ObjectIdentifier) -> Void) throws {
        guard !isEnding.load(ordering: .acquiring) else { return channel.close(promise: nil) }
        guard let part = parts.first(where: { $0.eventLoop === channel.eventLoop }) else { return }
        open.add(1, ordering: .relaxed)
        let id = ObjectIdentifier(channel)
        part.channels[id] = channel
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            part.channels[id] = nil
            self.open.subtract(1, ordering: .relaxed)
        }
        if exchange.isPaused { try channel.syncOptions?.setOption(.autoRead, value: false) }
        let pipeline = channel.pipeline.syncOperations
        let trust = exchange.trust.withLock { $0 }
        let tls = try trust.map { trust throws(TLSError) in try TLSHandler.server(trust.context) }
        if let tls { try pipeline.addHandler(tls) }
        let encoder = HTTPResponseEncoder()
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 8 << 10
        limits.maxHeaderListSize = 16 << 10
        limits.maxHeaderFieldCount = 100
        let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits))
        let count = lastNumber.add(1, ordering: .relaxed).newValue
        let upgrade = UpgradeHandler(
            exchange: exchange, loop: part, number: count * parts.count + part.index, tls: tls, trust: trust, encoder: encoder,
            decoder: decoder, onUpgrade: { handshakeEnded(id) })
        try pipeline.addHandlers([encoder, decoder, upgrade])
    }

    // MARK: The end

    /// Stops accepting, and closes all connections once what waits for them has left.
    package func beginShutdown() {
        isEnding.store(true, ordering: .releasing)
        listener.withLock { $0 }?.close(promise: nil)
        for part in parts { part.post([.shutDown], to: exchange) }
    }

    /// Ends the event loops; nothing may be used after it.
    package func stop() {
        for part in parts { part.stopTicking() }
        try? group.syncShutdownGracefully()
    }
}
