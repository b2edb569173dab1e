// One HTTPS connection to the hub's certificate service: requests one after the other (RFC 9112, keep-alive).

internal import HubTLS
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// What the service answered.
struct CertificateAnswer: Sendable {
    let status: Int
    let body: [UInt8]
}

/// The last handler of such a connection.
final class CertificateClient: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    /// Most bytes of an answer's body.
    private static let maxBody = 1 << 20

    private let timeout: TimeAmount
    private var promise: EventLoopPromise<CertificateAnswer>?
    private var deadline: Scheduled<Void>?
    private var status = 0
    private var body: [UInt8] = []
    private var context: ChannelHandlerContext?
    private var failure: SwarmError?

    init(timeout: TimeAmount) { self.timeout = timeout }

    /// Connects, and returns once TCP is; TLS goes on while the first request waits. To be called on `eventLoop`.
    /// - Parameter identity: the client certificate to show.
    static func connect(
        to endpoint: Endpoint, tls: TLSContext, peerName: PeerName, identity: TLSIdentity? = nil, timeout: TimeAmount,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<NIOLoopBound<CertificateClient>> {
        let client = NIOLoopBound(CertificateClient(timeout: timeout), eventLoop: eventLoop)
        return ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(TLSHandler.client(tls, peerName: peerName, identity: identity))
                    try pipeline.addHTTPClientHandlers()
                    try pipeline.addHandler(client.value)
                }
            }
            .connect(host: endpoint.host, port: endpoint.port)
            .map { _ in client }
    }

    /// Sends one request; the one before must have been answered.
    func send(_ head: HTTPRequestHead, body: [UInt8] = []) -> EventLoopFuture<CertificateAnswer>? {
        guard let context, context.channel.isActive, failure == nil, promise == nil else { return nil }
        let promise = context.eventLoop.makePromise(of: CertificateAnswer.self)
        self.promise = promise
        status = 0
        self.body = []
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            self?.fail(SwarmError(.unreachable, "the certificate service did not answer in time"))
        }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !body.isEmpty { context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        return promise.futureResult
    }

    func close() { context?.close(promise: nil) }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): status = Int(head.status.code)
        case .body(let part):
            guard body.count + part.readableBytes <= Self.maxBody else {
                return fail(SwarmError(.protocolViolation, "the certificate service answers with more than 1 MiB"))
            }
            body.append(contentsOf: part.readableBytesView)
        case .end:
            // An interim answer (1xx) is followed by the final one.
            guard status >= 200, let promise else { return }
            deadline?.cancel()
            self.promise = nil
            promise.succeed(CertificateAnswer(status: status, body: body))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let name = FailureName.of(error)
        let isHTTP = error is HTTPParserError
        fail(SwarmError(name.cause == "tls" ? .certificate : isHTTP ? .protocolViolation : .unreachable, name.detail))
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(SwarmError(.unreachable, "the certificate service closed the connection"))
    }

    private func fail(_ error: SwarmError) {
        guard failure == nil else { return }
        failure = error
        deadline?.cancel()
        promise?.fail(error)
        promise = nil
        context?.close(promise: nil)
    }
}
