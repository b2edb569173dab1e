// From a TLS connection to a WebSocket (design: "hub-wsserve", rules 1 and 2; RFC 6455, section 4.2).
// It stands behind NIOHTTP1's decoder and encoder, answers one request, and gives its place to an EdgeConnection.

internal import HubPipe
internal import HubTLS
internal import NIOCore
internal import NIOHTTP1
internal import NIOWebSocket

final class UpgradeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let exchange: Exchange
    private let loop: LoopPart
    /// Nil without TLS, as `trust`, under which its handshake began.
    private let tls: TLSHandler?
    private let trust: ClientTrust?
    private let encoder: HTTPResponseEncoder
    private let decoder: ByteToMessageHandler<HTTPRequestDecoder>
    /// Called once the connection is no longer a handshake.
    private let onUpgrade: () -> Void
    private let number: Int

    private var peer: TLSPeer?
    private var head: HTTPRequestHead?
    private var isAnswered = false
    private var reserved: String?
    private var deadline: Scheduled<Void>?

    /// - Parameter tls: nil without TLS, so without certificate.
    init(
        exchange: Exchange, loop: LoopPart, number: Int, tls: TLSHandler?, trust: ClientTrust?, encoder: HTTPResponseEncoder,
        decoder: ByteToMessageHandler<HTTPRequestDecoder>, onUpgrade: @escaping () -> Void
    ) {
        self.exchange = exchange
        self.loop = loop
        self.number = number
        self.tls = tls
        self.trust = trust
        self.encoder = encoder
        self.decoder = decoder
        self.onUpgrade = onUpgrade
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        let exchange = exchange
        let remote = Self.remote(channel)
        deadline = context.eventLoop.scheduleTask(in: .nanoseconds(exchange.settings.handshakeTimeout)) {
            exchange.counters.add(.handshakeTimeout)
            exchange.notices.peer(.info, "handshake_timeout", ["remote": remote])
            channel.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        releasePlace()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        releasePlace()
        context.fireChannelInactive()
    }

    private func releasePlace() {
        if let reserved { exchange.release(reserved) }
        reserved = nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? TLSHandshakeCompleted else { return context.fireUserInboundEventTriggered(event) }
        peer = event.peer
        if event.isResumed { exchange.counters.add(.resumed) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let details = ["remote": Self.remote(context.channel), "reason": "\(error)"]
        switch error {
        case let error as TLSError where error.code == .truncated:
            // Port scanners and load balancers do this all day.
            exchange.notices.peer(.debug, "handshake_abandoned", details)
        case is TLSError:
            exchange.counters.add(.handshakeFailed)
            exchange.notices.peer(.warning, "handshake_failed", details)
        case is HTTPParserError:
            refuse(context, .badRequest, "not a HTTP request", .badRequest)
            return
        default: exchange.notices.peer(.debug, "handshake_abandoned", details)
        }
        context.close(promise: nil)
    }

    // MARK: The request

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isAnswered else { return }
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: refuse(context, .badRequest, "an upgrade request has no body", .badRequest)
        case .end:
            guard let head else { return }
            decide(context, head)
        }
    }

    private func decide(_ context: ChannelHandlerContext, _ head: HTTPRequestHead) {
        if let (status, reason) = UpgradeRequest.fault(head) { return refuse(context, status, reason, .badRequest) }
        let node: String
        do throws(NodeIdentity.Problem) {
            node = try NodeIdentity.node(
                header: head.headers.first(name: "node_id"), peer: peer, needsCertificate: tls != nil,
                admitsLegacy: exchange.settings.legacyIdentity)
        } catch {
            return refuse(context, .forbidden, error.rawValue, .identity)
        }
        if let problem = trustProblem(node) { return refuse(context, .forbidden, problem.rawValue, .refusedTrust) }
        guard let project = head.headers.first(name: "project_id") ?? Optional(""), project.utf8.count <= 253 else {
            return refuse(context, .badRequest, "project_id is too long", .badRequest)
        }
        guard exchange.admit(node) == .admitted else {
            return refuse(context, .serviceUnavailable, "node limit reached", .nodeLimit)
        }
        reserved = node
        upgrade(context, head, node: node, project: project)
    }

    /// The handshake may be older than the last reload, and a resumed one does not look at the time.
    private func trustProblem(_ node: String) -> ClientTrust.Problem? {
        guard let tls, let trust, let current = exchange.trust.withLock({ $0 }) else { return nil }
        return current.problem(peer?.facts, tls, of: node, verifiedUnder: trust, now: wallMicroseconds() / 1_000_000)
    }

    /// NIOWebSocket computes the answer's headers; it does so at once.
    private func upgrade(_ context: ChannelHandlerContext, _ head: HTTPRequestHead, node: String, project: String) {
        let headers = HTTPHeaders([("connection", "upgrade"), ("upgrade", "websocket")])
        Self.upgrader.buildUpgradeResponse(channel: context.channel, upgradeRequest: head, initialResponseHeaders: headers)
            .assumeIsolated().whenComplete { result in
                switch result {
                case .success(let headers): self.becomeWebSocket(context, headers, node: node, project: project)
                case .failure: self.refuse(context, .badRequest, "bad WebSocket key or version", .badRequest)
                }
            }
    }

    private static let upgrader = NIOWebSocketServerUpgrader(
        shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
        upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })

    private func becomeWebSocket(_ context: ChannelHandlerContext, _ headers: HTTPHeaders, node: String, project: String) {
        guard !isAnswered, context.channel.isActive else { return }
        isAnswered = true
        let response = HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers)
        context.writeAndFlush(wrapOutboundOut(.head(response)), promise: nil)
        // The write may have failed and closed the channel.
        guard context.channel.isActive else { return }
        let connection = EdgeConnection(
            exchange: exchange, loop: loop, handle: ConnectionHandle(number: number, loop: loop), node: node, project: project,
            remote: Self.remote(context.channel))
        // Most nodes say little for long; the request was long.
        tls?.releaseRoom()
        // The session takes the kept place over.
        reserved = nil
        onUpgrade()
        let pipeline = context.pipeline.syncOperations
        do {
            // Bytes behind the request come out of the decoder when it goes, so its successor must be there before.
            try pipeline.addHandler(connection, position: .after(decoder))
        } catch {
            exchange.release(node)
            context.close(promise: nil)
            return
        }
        pipeline.removeHandler(encoder, promise: nil)
        pipeline.removeHandler(context: context, promise: nil)
        pipeline.removeHandler(decoder, promise: nil)
    }

    private func refuse(
        _ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ reason: String, _ cause: ServeCounters.Cause
    ) {
        guard !isAnswered else { return }
        isAnswered = true
        exchange.counters.add(cause)
        var details = ["remote": Self.remote(context.channel), "status": "\(status.code)", "reason": reason]
        if let name = head?.headers.first(name: "node_id") { details["node"] = String(name.prefix(253)) }
        exchange.notices.peer(.warning, "refused", details)
        var headers = HTTPHeaders([
            ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "\(reason.utf8.count + 1)"), ("Connection", "close"),
        ])
        switch status {
        case .serviceUnavailable: headers.add(name: "Retry-After", value: "30")
        case .upgradeRequired, .badRequest:
            // The version that is spoken here (RFC 6455, 4.4).
            headers.add(name: "Upgrade", value: "websocket")
            headers.add(name: "Sec-WebSocket-Version", value: "13")
        default: break
        }
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: reason + "\n")))), promise: nil)
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: promise)
    }

    private static func remote(_ channel: any Channel) -> String { channel.remoteAddress?.hostAndPort ?? "" }
}
