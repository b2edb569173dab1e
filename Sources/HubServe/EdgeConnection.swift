// One node's WebSocket connection, the last handler of its channel. All calls come on its event loop.
// Reading is here; sending and time are in EdgeConnection+Outbound.swift, closing is in EdgeConnection+Closing.swift.

internal import HubPipe
internal import NIOCore

final class EdgeConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase: Equatable {
        case open
        /// A close frame is queued or sent. The session is over; the peer's close frame, or the deadline, ends the channel.
        case closing(deadline: Int64)
        case closed
    }

    let exchange: Exchange
    let loop: LoopPart
    let handle: ConnectionHandle
    let node: String
    let remote: String
    private let project: String

    var session: Int64 = 0
    private var prefix: [UInt8] = []
    private(set) var parser: FrameParser
    /// What has come of a message whose end has not.
    private var partial: [UInt8] = []
    /// The size of `partial` that the exchange knows of.
    private var held = 0
    private var frames = 0

    var context: ChannelHandlerContext?
    var phase = Phase.open
    /// The peer's close frame has come.
    var isPeerDone = false
    var outbound = OutboundQueue()
    var isPumping = false

    // Time, in nanoseconds of the monotonic clock.
    /// Something left the connection, or began to wait.
    var lastProgress: Int64 = 0
    var lastBuffered = 0
    var nextPing: Int64 = .max
    var isPongMissing = false
    var missedPongs = 0
    /// Payload of an unfinished frame came since the last ping: the pong cannot overtake it.
    var isReceiving = false

    init(exchange: Exchange, loop: LoopPart, handle: ConnectionHandle, node: String, project: String, remote: String) {
        self.exchange = exchange
        self.loop = loop
        self.handle = handle
        self.node = node
        self.project = project
        self.remote = remote
        parser = FrameParser(maxMessage: exchange.settings.maxMessage)
    }

    /// The upgrade is answered: from here on the node is connected.
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let now = monotonicNanoseconds()
        lastProgress = now
        if exchange.settings.ping > 0 { nextPing = now + exchange.settings.ping }
        loop.connections[handle.number] = self
        session = exchange.connect(node, handle: handle, project: project, remote: remote)
        prefix = UpstreamFrame.prefix(node: node, session: session)
        exchange.notices.peer(.info, "connected", ["node": node, "session": "\(session)", "remote": remote])
    }

    /// The key of the channel in the loop's dictionary.
    var channelID: ObjectIdentifier? { context.map { ObjectIdentifier($0.channel) } }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase != .closed else { return }
        var lines: [UInt8] = []
        swap(&lines, &loop.lines)
        var taken = 0
        var ending: Ending?
        var at = 0
        let bytes = unwrapInboundIn(data)
        unsafe bytes.withUnsafeReadableBytes { input in
            ending = unsafe parse(input, &at, &lines, &taken)
        }
        if taken > 0 { exchange.emit(lines, count: taken, node: node, session: session, on: loop) }
        lines.removeAll(keepingCapacity: lines.capacity <= 1 << 20)
        swap(&lines, &loop.lines)
        // The end comes after the lines that came before it, perhaps in the same read.
        switch ending {
        case .close(let code, let reason): close(code, reason)
        case .peerCloses(let code): peerCloses(code)
        case nil: if phase == .open { hold() }
        }
        skipRest(bytes, at)
        pump()
    }

    /// Why a connection must end after what has been read.
    private enum Ending {
        case close(CloseCode, String)
        case peerCloses(UInt16?)
    }

    /// Once the session is over, only the peer's close frame still counts.
    private func skipRest(_ bytes: ByteBuffer, _ start: Int) {
        guard phase != .open, !isPeerDone, start < bytes.readableBytes else { return }
        var at = start
        let hasClosed = unsafe bytes.withUnsafeReadableBytes { unsafe parser.skip($0, at: &at) }
        if hasClosed { peerCloses(nil) }
    }

    /// Takes frames out of `input`, from `at` on; their lines are appended to `lines`.
    /// - Returns: why the connection must end.
    private func parse(_ input: UnsafeRawBufferPointer, _ at: inout Int, _ lines: inout [UInt8], _ taken: inout Int) -> Ending? {
        while phase == .open {
            // A whole message is unmasked to where its line will be; only an unfinished one is kept aside.
            let isContinuing = parser.isInMessage
            let start = lines.count
            let event: FrameParser.Event
            var body = start
            if isContinuing {
                event = unsafe parser.next(input, at: &at, into: &partial)
                if event == .message {
                    lines.append(contentsOf: prefix)
                    body = lines.count
                    lines.append(contentsOf: partial)
                    partial = []
                }
            } else {
                lines.append(contentsOf: prefix)
                body = lines.count
                event = unsafe parser.next(input, at: &at, into: &lines)
                if event != .message {
                    partial = Array(lines[body...])
                    lines.removeLast(lines.count - start)
                }
            }
            switch event {
            case .needsInput:
                isReceiving = isReceiving || parser.isInMessage
                return nil
            case .message:
                if let ending = finish(&lines, start: start, body: body, &taken) { return ending }
            case .ping(let payload): outbound.add(pong: ServerFrame.pong(payload))
            case .pong:
                isPongMissing = false
                missedPongs = 0
            case .close(let code):
                return .peerCloses(code)
            case .failure(let code, let reason):
                exchange.counters.add(code == .tooBig ? .tooBig : code == .invalidData ? .invalid : .protocolError)
                return .close(code, reason)
            }
        }
        return nil
    }

    private func finish(_ lines: inout [UInt8], start: Int, body: Int, _ taken: inout Int) -> Ending? {
        frames += 1
        let outcome = UpstreamFrame.finish(&lines, body: body, time: wallMicroseconds())
        if outcome == .line {
            taken += 1
            return nil
        }
        defer { lines.removeLast(lines.count - start) }
        switch outcome {
        case .line: return nil
        case .answer(let payload):
            answer(payload)
            return nil
        case .refused(let reason, let isForged):
            exchange.counters.add(isForged ? .forged : .refusedFrame)
            exchange.refuse(node, number: frames, bytes: lines[body...], reason: reason)
            return nil
        case .invalid:
            exchange.counters.add(.invalid)
            return .close(.invalidData, "not JSON in UTF-8")
        }
    }

    /// Tells the exchange how much of an unfinished message is held here.
    private func hold() {
        guard partial.count != held else { return }
        held = partial.count
        exchange.hold(held, connection: handle.number)
    }

    /// Gives back what an unfinished message holds.
    func dropPartial() {
        partial = []
        hold()
    }
}
