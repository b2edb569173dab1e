// One event loop's share of the connections, and the mailbox through which other threads reach them.
// A batch of commands costs one wake-up, however many connections it is for, and each connection flushes once for it.

internal import HubPipe
internal import NIOCore
internal import Synchronization

/// Everything but the mailbox is touched on `eventLoop` only, which is what makes it Sendable.
final class LoopPart: @unchecked Sendable {
    enum Command: Sendable {
        case send(connection: Int, frame: ByteBuffer, id: UInt64, isOnce: Bool)
        /// The session is over already, as far as lines are concerned.
        case close(connection: Int, CloseCode, reason: String)
        /// Stops, or goes on, reading sockets, as the exchange now says.
        case followReading
        /// The second one no longer holds, the first one does.
        case judge(ClientTrust, after: ClientTrust)
        /// Says how many sessions have a certificate of which authority.
        case countIssuers
        /// SIGTERM.
        case shutDown
    }

    private struct Mailbox {
        var commands: [Command] = []
        var isScheduled = false
    }

    let index: Int
    let eventLoop: any EventLoop
    private let mailbox = Mutex(Mailbox())

    /// Upgraded connections by number.
    var connections: [Int: EdgeConnection] = [:]
    /// All channels of accepted connections.
    var channels: [ObjectIdentifier: any Channel] = [:]
    /// Lines of the connection that is being read; its memory is kept for the next one.
    var lines: [UInt8] = []
    private var isWakePlanned = false
    private var tickTask: RepeatedTask?
    private var lastTick: Int64 = 0

    init(index: Int, eventLoop: any EventLoop) {
        self.index = index
        self.eventLoop = eventLoop
    }

    /// From any thread.
    func post(_ commands: [Command], to exchange: Exchange) {
        let mustWake = mailbox.withLock { mailbox in
            if mailbox.commands.isEmpty { mailbox.commands = commands } else { mailbox.commands.append(contentsOf: commands) }
            defer { mailbox.isScheduled = true }
            return !mailbox.isScheduled
        }
        if mustWake { eventLoop.execute { self.deliver(exchange) } }
    }

    private func deliver(_ exchange: Exchange) {
        let commands = mailbox.withLock { mailbox in
            mailbox.isScheduled = false
            let commands = mailbox.commands
            mailbox.commands = []
            return commands
        }
        var touched: [EdgeConnection] = []
        var bytes = 0
        var taken = 0
        var takenBytes = 0
        for command in commands {
            switch command {
            case .send(let number, let frame, let id, let isOnce):
                bytes += frame.readableBytes
                guard let connection = connections[number] else {
                    exchange.counters.add(.closing)
                    continue
                }
                guard connection.enqueue(frame, id: id, isOnce: isOnce) else { continue }
                taken += 1
                takenBytes += frame.readableBytes
                if touched.last !== connection { touched.append(connection) }
            case .close(let number, let code, let reason):
                // Frames that came before it leave before it, as far as the socket takes them.
                connections[number]?.pump()
                connections[number]?.close(code, reason)
            case .followReading:
                let isReading = !exchange.isPaused
                for channel in channels.values {
                    try? channel.syncOptions?.setOption(.autoRead, value: isReading)
                }
            case .judge(let trust, let earlier): judge(trust, after: earlier, exchange)
            case .countIssuers: countIssuers(exchange)
            case .shutDown:
                // Closing takes connections and channels out of the dictionaries.
                let all = Array(connections.values)
                var others = channels
                for connection in all {
                    if let id = connection.channelID { others[id] = nil }
                    connection.shutDown()
                }
                for channel in others.values { channel.close(promise: nil) }
            }
        }
        for connection in touched { connection.pump() }
        if taken > 0 { exchange.counters.add(.down, taken, .downBytes, takenBytes) }
        if bytes > 0 { exchange.delivered(bytes) }
    }

    /// Has the output written once all sockets that are ready have been read: one wake-up for all of them, and one write. The loop runs
    /// its tasks after the sockets of a turn, so nothing waits for what has not come yet.
    func wakeWriterAfterTurn(_ exchange: Exchange) {
        guard !isWakePlanned else { return }
        isWakePlanned = true
        eventLoop.execute {
            self.isWakePlanned = false
            exchange.wakeWriter()
        }
    }

    // MARK: Time

    /// Has deadlines looked at every `interval` nanoseconds.
    func startTicking(_ interval: Int64, _ exchange: Exchange) {
        eventLoop.execute {
            self.lastTick = monotonicNanoseconds()
            self.tickTask = self.eventLoop.scheduleRepeatedTask(initialDelay: .nanoseconds(interval), delay: .nanoseconds(interval)) { _ in
                let now = monotonicNanoseconds()
                // Time in which nothing could be read, because the output was full or the process stood still, is nobody's silence.
                let late = now - self.lastTick - interval
                let lost = exchange.isPaused ? now - self.lastTick : late > 1_000_000_000 ? late : 0
                self.lastTick = now
                // A connection that ends takes itself out of the dictionary; the iteration keeps what it began with.
                for connection in self.connections.values { connection.tick(now: now, lost: lost) }
            }
        }
    }

    func stopTicking() {
        eventLoop.execute {
            self.tickTask?.cancel()
            self.tickTask = nil
        }
    }
}
