// Sending, pings and deadlines of one connection (design: "Flow control", rules 3 and 4; "hub-wsserve", rule 5).
//
// Frames wait here, not in the channel: it is given at most about 64 KiB that the socket has not taken. So it is known what has not
// left, and a control frame gets between two messages.

internal import HubPipe
internal import NIOCore

extension EdgeConnection {
    /// Bytes given to the channel at once.
    private static var unit: Int { 64 << 10 }

    /// Adds a frame; `pump` sends it.
    /// - Returns: whether it was taken.
    func enqueue(_ frame: ByteBuffer, id: UInt64, isOnce: Bool) -> Bool {
        // Only what the socket does not take waits.
        if outbound.unsent >= Self.unit { pump() }
        guard phase == .open else {
            exchange.counters.add(.closing)
            return false
        }
        guard mayAdd(frame.readableBytes, isOnce: isOnce) else {
            exchange.counters.add(isOnce ? .unsentOnce : .unsentAck)
            return false
        }
        if outbound.unsent == 0 { lastProgress = monotonicNanoseconds() }
        guard outbound.add(frame, id: id) else {
            exchange.counters.add(.duplicate)
            return false
        }
        return true
    }

    /// Past the limit `once` lines are dropped at once. Others have twice the room: their sender bounds what is on its way to a node,
    /// and one that does not must not make this grow. A single message may be larger than the limit.
    private func mayAdd(_ size: Int, isOnce: Bool) -> Bool {
        let limit = exchange.settings.maxUnsent
        return outbound.unsent <= limit || !isOnce && outbound.unsent + size <= 2 * limit
    }

    /// Answers the node itself. A node that asks and does not read gets no more answers.
    func answer(_ payload: [UInt8]) {
        let frame = ServerFrame.text(payload)
        guard phase == .open, outbound.unsent <= exchange.settings.maxUnsent else { return exchange.counters.add(.answerDropped) }
        if enqueue(frame, id: 0, isOnce: true) { exchange.counters.add(.answered) }
    }

    /// Hands frames to the channel as long as the socket takes them.
    func pump() {
        guard !isPumping, outbound.hasNext, phase != .closed, let context else { return }
        isPumping = true
        let channel = context.channel
        while outbound.hasNext, channel.isWritable, let buffer = outbound.next(limit: Self.unit) {
            let promise = loop.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenSuccess { self.batchLeft() }
            context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
            // A failed write closes the channel at once.
            guard phase != .closed else { break }
        }
        isPumping = false
    }

    private func batchLeft() {
        outbound.left()
        lastProgress = monotonicNanoseconds()
        guard phase != .closed else { return }
        if outbound.isEmpty { allLeft() }
        pump()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        context.fireChannelWritabilityChanged()
    }

    // MARK: Time

    /// Looks at the deadlines.
    /// - Parameter lost: time since the last call in which the node could not be read; every deadline moves by as much.
    func tick(now: Int64, lost: Int64) {
        if case .closing(let deadline) = phase {
            if now >= deadline { finish() }
            return
        }
        guard phase == .open else { return }
        if lost > 0 {
            lastProgress += lost
            if nextPing != .max { nextPing += lost }
        }
        if isStalled(now) {
            exchange.counters.add(.slowReader)
            return abort("slow reader")
        }
        if now >= nextPing { pingDue(now) }
    }

    /// More waits than may, and none of it has left for too long.
    private func isStalled(_ now: Int64) -> Bool {
        guard outbound.unsent > exchange.settings.maxUnsent else { return false }
        noteProgress(now)
        return now - lastProgress >= exchange.settings.stall
    }

    /// A batch leaves in pieces, of which the channel tells only the sum.
    private func noteProgress(_ now: Int64) {
        let buffered = (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        if buffered != lastBuffered {
            lastBuffered = buffered
            lastProgress = now
        }
    }

    private func pingDue(_ now: Int64) {
        nextPing = now + exchange.settings.ping
        noteProgress(now)
        // A ping that leaves behind others on a slow link, and a pong that must wait for the end of a large frame, are not missed.
        let isExcused = isReceiving || !outbound.isEmpty && now - lastProgress < exchange.settings.ping
        isReceiving = false
        if isPongMissing, !isExcused {
            missedPongs += 1
            if missedPongs >= 2 {
                exchange.counters.add(.pongTimeout)
                return abort("pong timeout")
            }
        }
        isPongMissing = true
        outbound.add(ping: ServerFrame.ping())
        pump()
    }
}
