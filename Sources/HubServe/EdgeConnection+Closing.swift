// The ends of a connection. Whatever the end is, the session is over at its beginning: `disconnected` is in the output before any
// close frame has left, and no line of the session follows it.

internal import HubPipe
internal import HubTLS
internal import NIOCore

extension EdgeConnection {
    /// How long the peer may take to answer a close frame, in nanoseconds.
    private static var patience: Int64 { 2_000_000_000 }

    /// Closes with a close frame. What has come is thrown away until the peer answers, so that it can read the code:
    /// closing a socket with unread data would destroy the frame on its way.
    func close(_ code: CloseCode, _ reason: String) {
        guard phase == .open else { return }
        if code == .tryLater { exchange.counters.add(.overBuffered) }
        begin(code.rawValue, reason, flushing: false, patience: Self.patience)
    }

    /// SIGTERM: what waits is sent first.
    func shutDown() {
        guard phase == .open else { return }
        begin(CloseCode.goingAway.rawValue, "shutdown", flushing: true, patience: exchange.settings.drain)
    }

    /// The peer began, or answers.
    func peerCloses(_ code: UInt16?) {
        guard phase == .open else { return finish() }
        // The answer carries the peer's code (RFC 6455, 5.5.1); its flush ends the channel.
        begin(code ?? CloseCode.normal.rawValue, "closed by peer", flushing: false, patience: Self.patience, isAnswer: true)
    }

    private func begin(_ code: UInt16, _ reason: String, flushing: Bool, patience: Int64, isAnswer: Bool = false) {
        phase = .closing(deadline: monotonicNanoseconds() + patience)
        isPeerDone = isAnswer || parser.hasClose
        dropPartial()
        exchange.disconnect(node, session: session, reason: reason)
        outbound.close(ServerFrame.close(code, isAnswer ? "" : reason), flushing: flushing)
        pump()
    }

    /// Everything has left. If the peer has sent its close frame, nothing more is expected; after one of ours, its answer is.
    func allLeft() {
        guard case .closing(let deadline) = phase else { return }
        if isPeerDone {
            finish()
        } else {
            phase = .closing(deadline: min(deadline, monotonicNanoseconds() + Self.patience))
        }
    }

    /// Ends the connection without a close frame.
    func abort(_ reason: String) {
        guard phase != .closed else { return }
        dropPartial()
        exchange.disconnect(node, session: session, reason: reason)
        finish()
    }

    /// Closes the channel.
    func finish() {
        guard phase != .closed else { return }
        phase = .closed
        context?.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        dropPartial()
        exchange.disconnect(node, session: session, reason: "connection lost")
        phase = .closed
        loop.connections[handle.number] = nil
        self.context = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An end of the socket without close_notify follows almost every broken connection; `channelInactive` comes next.
        if let error = error as? TLSError, error.code == .truncated { return }
        exchange.notices.peer(.debug, "connection_error", ["node": node, "remote": remote, "reason": "\(error)"])
        abort("connection error")
    }
}
