// Where event loops, inputs and output meet: the registry of sessions and the lines for standard output, under one lock.
//
// That lock is what keeps the order of design "hub-wsserve", rule 4: a session's lines enter the output only while the registry says
// that it is the live one, and its events enter in the same critical section as its changes. A batch of lines takes the lock once.

internal import HubMessage
package import HubPipe
internal import Synchronization

package final class Exchange: Sendable {
    struct State {
        var registry: SessionRegistry<ConnectionHandle>
        /// Lines that the writer has not taken over.
        var output: [UInt8] = []
        /// Bytes that the writer has taken over and not written.
        var unwritten = 0
        var isWakePending = false
        var isPaused = false
        /// What inputs may ask for while the output is full, kept small and answered later: questions (`who`), and sessions that are gone.
        var questions: [String] = []
        var gone: [String: Int64] = [:]
        /// Refused frames on their way to the rejects, which one thread writes.
        var refused: [RefusedFrame] = []
        var refusedBytes = 0
        /// All that went there since the start.
        var keptBytes = 0
        var refusals = RateWindow(all: 100, each: 20)
    }

    fileprivate static let maxQuestions = 16
    /// Bytes in the mailboxes of the loops, one more batch not counted.
    private static let maxUndelivered = 1 << 20
    private static let maxRefusedBytes = 4 << 20

    package let settings: ServeSettings
    package let counters: ServeCounters
    let notices: NoticeSink
    /// Whom new connections and live sessions are measured by; nil without TLS.
    let trust = Mutex<ClientTrust?>(nil)
    private let state: Mutex<State>
    private let budget: Mutex<PartialBudget>
    private let undelivered = Atomic<Int>(0)
    private let paused = Atomic<Bool>(false)
    private let wake: @Sendable () -> Void
    private let parts = Mutex<[LoopPart]>([])
    private let onReadingChanged = Mutex<(@Sendable () -> Void)?>(nil)

    /// - Parameter wake: makes the thread that writes the output call `collect`; called once until it does.
    package init(
        settings: ServeSettings, counters: ServeCounters, wake: @escaping @Sendable () -> Void,
        log: @escaping @Sendable (Notice) -> Void
    ) {
        self.settings = settings
        self.counters = counters
        self.wake = wake
        notices = NoticeSink(counters: counters, log: log)
        state = Mutex(State(registry: SessionRegistry(nodeLimit: settings.nodeLimit)))
        budget = Mutex(PartialBudget(limit: settings.maxBuffered))
    }

    /// - Parameter readingChanged: called, from any thread, when accepting must follow `isPaused`.
    func connect(parts loops: [LoopPart], readingChanged: @escaping @Sendable () -> Void) {
        parts.withLock { $0 = loops }
        onReadingChanged.withLock { $0 = readingChanged }
    }

    /// The output is full: sockets are not read.
    package var isPaused: Bool { paused.load(ordering: .acquiring) }

    package var sessionCount: Int { state.withLock { $0.registry.count } }

    // MARK: Sessions

    func admit(_ node: String) -> SessionRegistry<ConnectionHandle>.Admission {
        state.withLock { $0.registry.admit(node) }
    }

    func release(_ node: String) {
        state.withLock { $0.registry.release(node) }
    }

    /// Makes the connection the node's live session, and has the one that it replaces closed.
    /// - Returns: the session's id.
    func connect(_ node: String, handle: ConnectionHandle, project: String, remote: String) -> Int64 {
        let (id, old) = change { state in
            state.registry.connect(
                node, handle: handle, project: project, remote: remote, transport: "websocket", now: wallMicroseconds(), to: &state.output)
        }
        counters.add(.connected)
        if let old {
            counters.add(.replaced)
            counters.add(.disconnected)
            old.handle.loop.post([.close(connection: old.handle.number, .policy, reason: "replaced")], to: self)
        }
        return id
    }

    /// Ends the session if it is the live one.
    func disconnect(_ node: String, session: Int64, reason: String) {
        let ended = change { state in
            state.registry.disconnect(node, session: session, reason: reason, now: wallMicroseconds(), to: &state.output)
        }
        guard let ended else { return }
        counters.add(.disconnected)
        notices.peer(
            .info, "disconnected", ["node": node, "session": "\(session)", "remote": ended.remote, "reason": reason])
    }

    /// Passes lines of a session to the output, unless it has been replaced or ended. On `loop`, which wakes the writer when its turn ends.
    func emit(_ lines: [UInt8], count: Int, node: String, session: Int64, on loop: LoopPart) {
        let isLive = change(on: loop) { state in
            guard state.registry.session(of: node)?.id == session else { return false }
            state.output.append(contentsOf: lines)
            return true
        }
        if isLive { counters.add(.up, count, .upBytes, lines.count) } else { counters.add(.lateUp, count) }
    }

    /// Hands a refused frame on to log and rejects: 20 a second of one node, 100 of all, and copies as long as there is room for them.
    func refuse(_ node: String, number: Int, bytes: ArraySlice<UInt8>, reason: String) {
        let mustWake = state.withLock { state -> Bool in
            guard state.refusals.admits(node, now: monotonicNanoseconds()) else {
                counters.add(.notKept)
                return false
            }
            var frame = RefusedFrame(node: node, number: number, bytes: nil, reason: reason)
            if state.refusedBytes + bytes.count <= Self.maxRefusedBytes, state.keptBytes + bytes.count <= settings.maxRejects {
                state.refusedBytes += bytes.count
                state.keptBytes += bytes.count
                frame.bytes = Array(bytes)
            } else {
                counters.add(.notKept)
            }
            state.refused.append(frame)
            defer { state.isWakePending = true }
            return !state.isWakePending
        }
        if mustWake { wake() }
    }

    /// Tells how much of an unfinished message a connection holds; the largest one of all is closed when that is too much.
    func hold(_ size: Int, connection: Int) {
        guard let victim = budget.withLock({ $0.update(connection, size: size) }) else { return }
        let loops = parts.withLock { $0 }
        guard !loops.isEmpty else { return }
        // The number says which loop it is.
        loops[victim % loops.count].post([.close(connection: victim, .tryLater, reason: "too much buffered")], to: self)
    }

    // MARK: Inputs

    /// Hands a batch of lines to the connections that they are for.
    package func dispatch(_ batch: [DownstreamLine]) {
        let loops = parts.withLock { $0 }
        var commands = [[LoopPart.Command]](repeating: [], count: loops.count)
        for index in commands.indices { commands[index].reserveCapacity(batch.count) }
        var bytes = 0
        change { state in
            let now = wallMicroseconds()
            for line in batch {
                switch line {
                case .message(let node, let session, let isOnce, let id, let frame):
                    guard let live = state.live(node, session, now, counters) else { continue }
                    bytes += frame.readableBytes
                    commands[live.handle.loop.index].append(
                        .send(connection: live.handle.number, frame: frame, id: id, isOnce: isOnce))
                case .close(let node, let session, let reason):
                    guard let live = state.live(node, session, now, counters) else { continue }
                    state.registry.disconnect(node, session: live.id, reason: reason, now: now, to: &state.output)
                    counters.add(.closedByLine)
                    counters.add(.disconnected)
                    commands[live.handle.loop.index].append(.close(connection: live.handle.number, .policy, reason: reason))
                case .who(let question): state.ask(question, now, counters)
                case .refused: break
                }
            }
        }
        undelivered.add(bytes, ordering: .relaxed)
        for (part, list) in zip(loops, commands) where !list.isEmpty { part.post(list, to: self) }
    }

    /// Event loops have much to deliver: inputs should wait for them. It is never long, because they wait for nobody.
    package var isBehind: Bool { undelivered.load(ordering: .relaxed) > Self.maxUndelivered }

    /// A loop has dealt with so many bytes of frames.
    func delivered(_ bytes: Int) {
        let (before, after) = undelivered.subtract(bytes, ordering: .relaxed)
        guard before > Self.maxUndelivered, after <= Self.maxUndelivered else { return }
        let mustWake = state.withLock { state in
            defer { state.isWakePending = true }
            return !state.isWakePending
        }
        if mustWake { wake() }
    }

    // MARK: Output

    /// The first line: no session of an earlier process lives.
    package func announce() {
        change { state in EventLine(.reset, time: wallMicroseconds()).append(to: &state.output) }
    }

    /// Moves all lines to `writer`, from which they are written; by one thread.
    /// - Returns: the frames refused since the last call.
    package func collect(into writer: LineWriter) -> [RefusedFrame] {
        let (refused, isChanged) = state.withLock { state -> ([RefusedFrame], Bool) in
            state.isWakePending = false
            var isChanged = false
            if state.isPaused, writer.pending + state.output.count <= settings.maxOutput / 4 {
                state.isPaused = false
                paused.store(false, ordering: .releasing)
                isChanged = true
                state.answerDeferred(wallMicroseconds())
            }
            if writer.buffer.isEmpty {
                swap(&writer.buffer, &state.output)
            } else {
                writer.buffer.append(contentsOf: state.output)
                state.output.removeAll(keepingCapacity: true)
            }
            state.unwritten = writer.pending
            defer {
                state.refused = []
                state.refusedBytes = 0
            }
            return (state.refused, isChanged)
        }
        if isChanged { followReading() }
        return refused
    }

    /// Has the output written, if anything is there.
    func wakeWriter() {
        let mustWake = state.withLock { state in
            guard !state.isWakePending, !state.output.isEmpty else { return false }
            state.isWakePending = true
            return true
        }
        if mustWake { wake() }
    }

    /// Changes the state, then does what the change of the output calls for.
    ///
    /// - Parameter loop: it calls `wakeWriter` when its turn ends; nil wakes the writer at once.
    @discardableResult
    private func change<Result: Sendable>(on loop: LoopPart? = nil, _ body: (inout State) -> Result) -> Result {
        let (result, mustWake, isFull) = state.withLock { state -> (Result, Bool, Bool) in
            let result = body(&state)
            guard !state.output.isEmpty else { return (result, false, false) }
            let mustWake = !state.isWakePending
            if loop == nil { state.isWakePending = true }
            let isFull = !state.isPaused && state.output.count + state.unwritten > settings.maxOutput
            if isFull {
                state.isPaused = true
                paused.store(true, ordering: .releasing)
            }
            return (result, mustWake, isFull)
        }
        if mustWake {
            if let loop { loop.wakeWriterAfterTurn(self) } else { wake() }
        }
        if isFull {
            counters.add(.pauses)
            followReading()
        }
        return result
    }

    /// Loops look at `isPaused` when they get the command, so the last command sets what holds last.
    private func followReading() {
        for part in parts.withLock({ $0 }) { part.post([.followReading], to: self) }
        onReadingChanged.withLock { $0 }?()
    }
}

extension Exchange.State {
    /// The live session for a line, nil when the line has to be dropped, which is counted and, for a session that is gone, answered.
    fileprivate mutating func live(
        _ node: String, _ session: Int64?, _ now: Int64, _ counters: ServeCounters
    ) -> SessionRegistry<ConnectionHandle>.Session? {
        let live = registry.session(of: node)
        guard let session else {
            if live == nil { counters.add(.offline) }
            return live
        }
        if let live, live.id == session { return live }
        counters.add(.gone)
        if isPaused {
            counters.add(.deferred)
            // Newer sessions include older ones: whoever hears of the newest knows that the others are over too.
            if gone.count < 100_000 { gone[node] = max(gone[node] ?? 0, session) }
        } else {
            SessionRegistry<ConnectionHandle>.appendGone(node, session: session, now: now, to: &output)
        }
        return nil
    }

    fileprivate mutating func ask(_ question: String, _ now: Int64, _ counters: ServeCounters) {
        guard isPaused else { return registry.answerWho(question, now: now, to: &output) }
        counters.add(.deferred)
        questions.append(question)
        // The asker asks again and again; only the last questions are still of interest.
        if questions.count > Exchange.maxQuestions { questions.removeFirst() }
    }

    fileprivate mutating func answerDeferred(_ now: Int64) {
        for (node, session) in gone where registry.session(of: node)?.id != session {
            SessionRegistry<ConnectionHandle>.appendGone(node, session: session, now: now, to: &output)
        }
        gone = [:]
        for question in questions { registry.answerWho(question, now: now, to: &output) }
        questions = []
    }
}
