// Two embedded channels with a TLSHandler each, and what the application side of each of them saw.

internal import HubTLS
internal import NIOCore
internal import NIOEmbedded

/// A client and a server; `run` carries ciphertext between them until neither has any.
final class Wire {
    let serverChannel: EmbeddedChannel
    let clientChannel: EmbeddedChannel
    let clientHandler: TLSHandler
    let server = Recorder()
    let client = Recorder()
    /// Ciphertext carried so far.
    private(set) var bytesToServer = 0
    private let unit: Int

    /// - Parameter unit: most bytes that are handed over at once.
    init(
        server context: TLSContext, client clientContext: TLSContext, peerName: PeerName = .any, session: TLSSession? = nil,
        unit: Int = .max, allowsHalfClosure: Bool = false
    ) throws {
        self.unit = unit
        let serverHandler = try TLSHandler.server(context, allowsHalfClosure: allowsHalfClosure)
        clientHandler = try TLSHandler.client(clientContext, peerName: peerName, session: session, allowsHalfClosure: allowsHalfClosure)
        serverChannel = EmbeddedChannel(handlers: [serverHandler, server])
        clientChannel = EmbeddedChannel(handlers: [clientHandler, client])
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        serverChannel.connect(to: address, promise: nil)
        clientChannel.connect(to: address, promise: nil)
    }

    func run() throws {
        var isMoving = true
        while isMoving {
            isMoving = false
            while var bytes = try clientChannel.readOutbound(as: ByteBuffer.self) {
                isMoving = true
                bytesToServer += bytes.readableBytes
                deliver(&bytes, to: serverChannel)
            }
            while var bytes = try serverChannel.readOutbound(as: ByteBuffer.self) {
                isMoving = true
                deliver(&bytes, to: clientChannel)
            }
        }
    }

    private func deliver(_ bytes: inout ByteBuffer, to channel: EmbeddedChannel) {
        while let piece = bytes.readSlice(length: min(unit, bytes.readableBytes)), piece.readableBytes > 0 {
            channel.pipeline.fireChannelRead(piece)
            channel.pipeline.fireChannelReadComplete()
        }
    }

    /// Closes in an orderly way.
    func finish() throws {
        clientChannel.close(promise: nil)
        try run()
        cut()
    }

    /// Lets both sockets end.
    func cut() {
        _ = try? clientChannel.finish(acceptAlreadyClosed: true)
        _ = try? serverChannel.finish(acceptAlreadyClosed: true)
    }
}

/// The application: remembers what comes up.
final class Recorder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    var received = ByteBuffer()
    var handshakes: [TLSHandshakeCompleted] = []
    var errors: [any Error] = []
    var inputClosed = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        received.writeBuffer(&bytes)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSHandshakeCompleted { handshakes.append(event) }
        if case .some(.inputClosed) = event as? ChannelEvent { inputClosed += 1 }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { errors.append(error) }
}
