// hub-queue between its descriptors: lines become calls of the state machine, its actions become rows and lines.
//
// A turn of the loop takes lines, sends what may go, and writes it out; when a turn brings no line, or after --commit-delay, what was
// taken is committed. So a message usually leaves before its commit, and a commit covers everything that arrived together.

package import HubMessage
package import HubPipe
package import HubQueue
package import HubStore

package final class QueueStage: Stage {
    package internal(set) var machine: QueueMachine
    package let store: QueueStore
    let output: LineWriter
    /// Nil when nobody asked for receipts.
    var receipts: ReceiptBook?
    let settings: DeliverySettings
    /// Microseconds since 1970.
    let wallClock: () -> Int64
    let notify: (Notice) -> Void
    /// From the last send of a message to its acknowledgement.
    var ackLatency = Histogram()
    var pendingRows = 0
    /// When the rows are counted again.
    var countDue: Int64 = 0
    /// The nodes that have messages in flight.
    var status: StatusFile?
    private var openInputs: Int
    private var isTerminated = false
    private var terminatedAt: Int64 = 0

    /// Lines were taken since the last tick.
    private var tookLines = false
    /// When the first line was taken that waits for a commit.
    private var uncommittedSince: Int64?
    /// The time at which the failing state file is tried again.
    var retryAt: Int64?
    /// Lines that arrived while the state file could not be asked.
    private(set) var postponed: [[UInt8]] = []
    private(set) var storeErrors = 0
    /// Why the state file cannot be used any more; the stage has thrown then.
    package private(set) var failure: StoreError?

    private static let mostUncommittedBytes = 8 << 20
    private static let retryInterval: Int64 = 500_000_000
    private static let patienceAtEnd: Int64 = 5_000_000_000

    /// - Parameters:
    ///   - receipts: where receipts go, nil for none.
    ///   - now: monotonic nanoseconds, as in all later calls.
    ///   - wallClock: microseconds since 1970.
    ///   - notify: gets what the log should tell.
    /// - Throws: `StoreError` when the state file cannot be read.
    package init(
        settings: DeliverySettings, store: QueueStore, output: LineWriter, receipts: SpillWriter? = nil, now: Int64,
        wallClock: @escaping () -> Int64 = wallMicroseconds, notify: @escaping (Notice) -> Void
    ) throws(StoreError) {
        machine = QueueMachine(settings: settings.queue, now: now)
        self.settings = settings
        self.store = store
        self.output = output
        self.receipts = receipts.map { ReceiptBook($0) }
        status = settings.statusFile.map { StatusFile($0) }
        self.wallClock = wallClock
        self.notify = notify
        openInputs = settings.inputCount - (settings.hasFeedback ? 1 : 0)
        try restore()
    }

    // MARK: Lines

    package func take(_ line: Line, from input: Int, now: Int64) throws(PipeError) -> String? {
        guard line.isInner, let kind = line.kind else { return line.isInner ? "unknown kind" : "no envelope" }
        let isFeedback = settings.hasFeedback && input == 0
        if let problem = problem(line) {
            if !isFeedback, kind == .ack { receipts?.refused(line, problem) }
            noteWork(now)
            return problem
        }
        tookLines = true
        let reason = isFeedback ? try takeFeedback(line, kind, now) : try takeFromCloud(line, kind, now)
        noteWork(now)
        return reason
    }

    private func problem(_ line: Line) -> String? {
        do throws(MessageError) { try line.checkEnvelope() } catch { return error.description }
        // SQLite stores no more than a thousand million bytes in one row.
        return unsafe line.bytes.count <= 900_000_000 ? nil : "line too long to be stored"
    }

    private func takeFromCloud(_ line: Line, _ kind: EnvelopeKind, _ now: Int64) throws(PipeError) -> String? {
        switch kind {
        case .ack, .once: break
        case .up, .event: return "kind \(kind.rawValue) comes from a node, it belongs to --feedback"
        }
        if retryAt != nil {
            unsafe postponed.append([UInt8](line.bytes))
            return nil
        }
        if kind == .once {
            takeOnce(line, now)
            return nil
        }
        do throws(StoreError) {
            try takeMessage(line)
        } catch {
            try storeFailed(error, now)
            unsafe postponed.append([UInt8](line.bytes))
        }
        return nil
    }

    private func noteWork(_ now: Int64) {
        if uncommittedSince == nil, store.hasWork || receipts?.isWaiting ?? false { uncommittedSince = now }
    }

    package func wantsInput(_ input: Int) -> Bool {
        if settings.hasFeedback, input == 0 { return retryAt == nil || machine.memory + store.memory < 2 * machine.settings.maxMemory }
        return retryAt == nil && output.pending < settings.fullAt && !(receipts?.isFull ?? false)
            && machine.memory + store.memory < machine.settings.maxMemory
    }

    // MARK: Time

    package var deadline: Int64? {
        status?.deadline(workDue) ?? workDue
    }

    private var workDue: Int64? {
        // The output was full in this turn, and has been emptied since.
        if machine.wantsSending, output.pending < settings.fullAt { return 0 }
        if receipts?.wantsRefill ?? false { return 0 }
        if isTerminated, uncommittedSince == nil, retryAt == nil, receipts?.pending ?? 0 > 0 { return terminatedAt + Self.patienceAtEnd }
        if let retryAt { return min(retryAt, machine.deadline ?? .max) }
        if uncommittedSince != nil || machine.wantsLoads || machine.wantsParking || store.wantsPurge { return 0 }
        return machine.deadline
    }

    package func tick(now: Int64) throws(PipeError) {
        let isIdle = !tookLines
        tookLines = false
        machine.tick(now: now)
        perform(nil, now)
        noteWork(now)
        if let retryAt, now >= retryAt { try retry(now) }
        if retryAt == nil {
            try commitIfDue(isIdle, now)
            try load(now)
            if isIdle { try tidy(now) }
        }
        if status?.isDue(now) ?? false { writeStatus(now) }
        try send(now)
        try refillReceipts(now)
        // New messages stay on disk before the bound is reached: then the cloud need not wait for a slow node.
        machine.mayHold = machine.memory + store.memory < machine.settings.maxMemory / 4 * 3
    }

    /// At once when there is nothing else to do, else after a delay (design: hub-queue, rule 8).
    private func commitIfDue(_ isIdle: Bool, _ now: Int64) throws(PipeError) {
        guard let since = uncommittedSince else {
            if isIdle { store.endReading() }
            return
        }
        guard isIdle || isTerminated || now - since >= settings.commitDelay || store.uncommittedBytes >= Self.mostUncommittedBytes else {
            return
        }
        do throws(StoreError) {
            try commit()
        } catch {
            try storeFailed(error, now)
        }
    }

    /// Commits, then tells the state machine, and whoever reads receipts.
    func commit() throws(StoreError) {
        try store.commit()
        uncommittedSince = nil
        machine.committed()
        receipts?.committed()
    }

    // MARK: A failing state file

    /// Disk full or input/output error: the input stops, and what was taken is kept until a later try.
    private func storeFailed(_ error: StoreError, _ now: Int64) throws(PipeError) {
        storeErrors += 1
        try endUnlessTemporary(error)
        if retryAt == nil { notify(Notice(.error, "store_failed", ["reason": error.description, "input": "stopped"])) }
        retryAt = now + Self.retryInterval
        if isTerminated, now - terminatedAt >= Self.patienceAtEnd {
            throw PipeError(.write, "what was read cannot be stored: \(error.description)")
        }
    }

    /// A damaged state file is no place to go on with: what is read from it cannot be believed, what is written may be lost.
    func endUnlessTemporary(_ error: StoreError) throws(PipeError) {
        guard error.code != .temporary else { return }
        failure = error
        throw PipeError(.write, error.description)
    }

    private func retry(_ now: Int64) throws(PipeError) {
        do throws(StoreError) {
            try commit()
        } catch {
            return try storeFailed(error, now)
        }
        retryAt = nil
        let lines = postponed
        postponed = []
        for bytes in lines {
            // Scanned before, so the scan cannot fail.
            _ = try unsafe bytes.withUnsafeBytes { raw -> Result<Void, PipeError> in
                guard let line = try? unsafe Line.scan(raw), let kind = line.kind else { return .success(()) }
                do throws(PipeError) {
                    _ = try takeFromCloud(line, kind, now)
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }.get()
        }
        noteWork(now)
        if retryAt == nil { notify(Notice(.info, "store_recovered", ["input": "resumed"])) }
    }

    // MARK: Rows into memory and out of it

    private func load(_ now: Int64) throws(PipeError) {
        guard machine.wantsLoads else { return }
        var left = 64
        do throws(StoreError) {
            // Rows are read from the file alone.
            try commit()
            while left > 0, let request = machine.nextLoad() {
                left -= 1
                try load(request)
            }
        } catch {
            try storeFailed(error, now)
        }
    }

    /// What can wait for a moment without input.
    private func tidy(_ now: Int64) throws(PipeError) {
        if machine.wantsParking {
            machine.parkSome(settings.parkAtOnce)
            perform(nil, now)
            noteWork(now)
        }
        guard store.wantsPurge, uncommittedSince == nil else { return }
        do throws(StoreError) { try store.purgeSome() } catch { try storeFailed(error, now) }
    }

    /// At the end, receipts are not waited for: what they tell is on disk, and whoever offers a message again is told again.
    private func refillReceipts(_ now: Int64) throws(PipeError) {
        guard let receipts else { return }
        if isTerminated, now - terminatedAt >= Self.patienceAtEnd, receipts.pending > 0 {
            notify(Notice(.warning, "receipts_given_up", ["bytes": "\(receipts.discard())"]))
        }
        try receipts.refill()
    }

    // MARK: End

    package func inputEnded(_ input: Int, now: Int64) {
        if !settings.hasFeedback || input > 0 { openInputs -= 1 }
    }

    package func terminate(now: Int64) {
        isTerminated = true
        terminatedAt = now
    }

    package var isDone: Bool {
        guard retryAt == nil, uncommittedSince == nil, postponed.isEmpty, receipts?.spilled ?? 0 == 0 else { return false }
        if isTerminated { return true }
        guard openInputs == 0 else { return false }
        if !settings.hasFeedback { return true }
        return settings.exitWhenDrained && machine.hasBeenOnline && machine.isDrained
    }
}
