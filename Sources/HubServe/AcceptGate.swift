// How many handshakes run at once (design: "hub-wsserve", rule 2): past the cap, connections wait in the listen queue.
// When all nodes come back together, each handshake still ends soon, instead of all of them late.

internal import NIOCore

/// In the pipeline of the listening channel, which reads only when it is told to: one read accepts one connection.
final class AcceptGate: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    private let limit: Int
    private let exchange: Exchange
    private var handshakes: Set<ObjectIdentifier> = []
    private var isReading = false
    private var context: ChannelHandlerContext?

    init(limit: Int, exchange: Exchange) {
        self.limit = limit
        self.exchange = exchange
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        proceed()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        let id = ObjectIdentifier(channel)
        exchange.counters.add(.accepted)
        handshakes.insert(id)
        let gate = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        channel.closeFuture.whenComplete { _ in
            eventLoop.execute { gate.value.finished(id) }
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.fireChannelReadComplete()
        proceed()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Mostly the limit of open files; accepting goes on after a pause that NIO makes.
        exchange.notices.peer(.warning, "accept_failed", ["reason": "\(error)"])
        isReading = false
        context.fireErrorCaught(error)
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(100)) { self.proceed() }
    }

    /// A handshake has become a connection, or its channel is closed.
    func finished(_ id: ObjectIdentifier) {
        if handshakes.remove(id) != nil { proceed() }
    }

    /// Accepts the next one, if that is possible now.
    func proceed() {
        guard !isReading, handshakes.count < limit, !exchange.isPaused, let context else { return }
        isReading = true
        context.read()
    }
}
