// One connection of one edge: upgrade, frames, acknowledgements, keepalives. The last handler of its channel.
// Everything that one read causes is written with one flush. While the hub does not read, the edge stops reading too.

internal import HubMessage
internal import HubPipe
internal import HubTLS
internal import NIOCore

final class EdgeHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = Never
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// TCP and TLS.
        case connecting
        case upgrading
        case open
        /// A close frame was sent.
        case closing
        case closed
    }

    /// Most acknowledgements that wait for `--ack-delay`; past it the connection is not read.
    static let maxDelayed = 16_384
    /// How long a closing connection waits for the hub's close frame.
    private static let closeTimeout = TimeAmount.seconds(3)

    let node: EdgeNode
    unowned let owner: SwarmLoop
    /// For the session to resume.
    private let tls: TLSHandler?
    private(set) var phase = Phase.connecting
    private var upgrade: Upgrade
    private let started: Int64
    private var isResumed = false
    /// Why the connection ended; the first cause counts.
    private(set) var cause: (name: String, detail: String)?
    /// The upgrade succeeded.
    private(set) var hasOpened = false
    private var deadline: Scheduled<Void>?
    private var keepalive: Scheduled<Void>?
    private(set) var context: ChannelHandlerContext?

    /// A frame or a head that is not complete.
    private var inbox = ByteBuffer()
    /// The parts of a fragmented message.
    var fragments: ByteBuffer?
    /// Frames for the hub.
    var outbox = ByteBuffer()
    private var isReadHeld = false

    /// Acknowledgements that wait: when each is due, its bytes in `delayedFrames`.
    var delayed = CircularBuffer<(due: NIODeadline, count: Int)>(initialCapacity: 0)
    var delayedFrames = ByteBuffer()
    var isDelayScheduled = false
    var isFloodScheduled = false

    /// A slow reader takes so many bytes, then rests.
    static let slowBytes = 4096
    private static let slowRest = TimeAmount.milliseconds(100)
    private var isResting = false

    let isSilent: Bool
    let isSlow: Bool
    let isStalled: Bool
    let neverAcknowledges: Bool
    let refusesAll: Bool

    init(_ node: EdgeNode, owner: SwarmLoop, tls: TLSHandler?, started: Int64) {
        self.node = node
        self.owner = owner
        self.tls = tls
        self.started = started
        upgrade = Upgrade(&owner.random)
        let settings = owner.settings
        isSilent = settings.silent.includes(node: node.index, of: settings.nodes)
        isSlow = settings.slow.includes(node: node.index, of: settings.nodes)
        isStalled = settings.stalled.includes(node: node.index, of: settings.nodes)
        neverAcknowledges = settings.unacknowledged.includes(node: node.index, of: settings.nodes)
        refusesAll = settings.refused.includes(node: node.index, of: settings.nodes)
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let timeout = owner.settings.handshakeTimeout
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            self?.end("timeout", "no upgrade within \(timeout.nanoseconds / 1_000_000) ms")
        }
        if context.channel.isActive, tls == nil { sendUpgrade(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        if tls == nil { sendUpgrade(context) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let completed = event as? TLSHandshakeCompleted else { return }
        isResumed = completed.isResumed
        sendUpgrade(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let name = FailureName.of(error)
        end(name.cause, name.detail)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if cause == nil, phase != .closing { cause = ("eof", "the hub closed the connection") }
        phase = .closed
        deadline?.cancel()
        keepalive?.cancel()
        owner.ended(self)
    }

    /// Ends the connection because of `cause`.
    func end(_ cause: String, _ detail: String) {
        guard phase != .closed else { return }
        if self.cause == nil, phase != .closing { self.cause = (cause, detail) }
        phase = .closing
        context?.close(mode: .all, promise: nil)
    }

    /// Ends the connection as an edge does that goes away: close frame 1000, then waits for the hub's.
    func leave() {
        guard let context else { return }
        guard phase == .open, !isStalled, !isSilent else {
            if phase != .closed { phase = .closing }
            context.close(mode: .all, promise: nil)
            return
        }
        sendClose(1000)
        flush(context)
        phase = .closing
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closeTimeout) { [weak self] in
            self?.context?.close(mode: .all, promise: nil)
        }
    }

    // MARK: Upgrade

    private func sendUpgrade(_ context: ChannelHandlerContext) {
        guard phase == .connecting else { return }
        phase = .upgrading
        let settings = owner.settings
        var request = context.channel.allocator.buffer(capacity: 512)
        let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
        upgrade.writeRequest(host: "\(host):\(settings.port)", node: node.name, project: settings.project, to: &request)
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
    }

    private func readUpgrade(_ buffer: inout ByteBuffer) {
        switch upgrade.readAnswer(from: &buffer) {
        case .incomplete: break
        case .refused(let status): end("http-\(status)", "the hub answered the upgrade with status \(status)")
        case .violation: end("upgrade", "the answer to the upgrade breaks RFC 6455")
        case .accepted: opened()
        }
    }

    private func opened() {
        guard let context else { return }
        phase = .open
        hasOpened = true
        deadline?.cancel()
        if owner.settings.resumes { node.session = tls?.session }
        owner.opened(node, microseconds: (monotonicNanoseconds() - started) / 1000, isResumed: isResumed)
        guard !isSilent else { return }
        sendKeepalive()
        flush(context)
        scheduleKeepalive(context)
    }

    private func scheduleKeepalive(_ context: ChannelHandlerContext) {
        let interval = owner.settings.keepalive
        guard interval > .zero else { return }
        keepalive = context.eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in
            guard let self, let context = self.context, phase == .open else { return }
            sendKeepalive()
            flush(context)
            scheduleKeepalive(context)
        }
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        if inbox.readableBytes > 0 {
            inbox.writeBuffer(&buffer)
            take(&inbox)
            if inbox.readableBytes == 0 {
                inbox = inbox.capacity > 16 << 10 ? ByteBuffer() : inbox
                inbox.clear()
            } else {
                inbox.discardReadBytes()
            }
        } else {
            take(&buffer)
            if buffer.readableBytes > 0 { inbox.writeBuffer(&buffer) }
        }
    }

    private func take(_ buffer: inout ByteBuffer) {
        if phase == .upgrading { readUpgrade(&buffer) }
        switch phase {
        case .open, .closing: takeFrames(&buffer)
        case .closed: buffer.clear()
        case .connecting, .upgrading: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush(context)
        // The edge has stopped reading; a TLS record that was already read is let through.
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if isSlow, phase == .open { return readSlowly(context) }
        guard mayRead(context) else {
            isReadHeld = true
            return
        }
        context.read()
    }

    private func readSlowly(_ context: ChannelHandlerContext) {
        guard !isResting else { return }
        isResting = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.slowRest) { [weak self] in
            self?.isResting = false
            self?.context?.read()
        }
    }

    private func mayRead(_ context: ChannelHandlerContext) -> Bool {
        guard phase == .open else { return true }
        return !isStalled && context.channel.isWritable && delayed.count < Self.maxDelayed
    }

    /// Reads on if what stopped it has gone.
    func resumeReading() {
        guard isReadHeld, let context, mayRead(context) else { return }
        isReadHeld = false
        context.read()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable else { return }
        resumeReading()
        if phase == .open { flood() }
    }

    // MARK: Writing

    /// Sends what has been collected.
    func flush(_ context: ChannelHandlerContext) {
        guard outbox.readableBytes > 0 else { return }
        context.writeAndFlush(wrapOutboundOut(outbox), promise: nil)
        if outbox.capacity > 64 << 10 { outbox = ByteBuffer() } else { outbox.clear() }
    }

    private func sendKeepalive() {
        let mask = owner.mask()
        ClientFrame.append(.text, mask: mask, to: &outbox, expecting: 256) { buffer in
            EdgeMessage.writeKeepalive(&owner.random, now: wallMicroseconds() / 1000, to: &buffer)
        }
        owner.figures.keepalives += 1
    }

    func sendClose(_ code: UInt16) {
        ClientFrame.append(.close, mask: owner.mask(), to: &outbox, expecting: 2) { $0.writeInteger(code) }
    }
}
