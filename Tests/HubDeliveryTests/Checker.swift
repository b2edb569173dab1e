// Runs one schedule against the queue as hub-queue runs it (state machine, state file and what joins them), with a clock of its own,
// and shows the reference model all that goes in and comes out.

import Foundation
import HubDelivery
import HubMessage
import HubPipe
import HubQueue
import HubStore

final class Checker {
    let schedule: Schedule
    let directory: String
    var model: ReferenceModel
    var producer = Producer()
    var edges = Edges()
    var now: Int64 = 1_000_000_000
    /// What happened, when it is wanted.
    var trace: [String]?

    private var stage: QueueStage?
    private var output: LineWriter
    private var receipts: LineWriter
    /// Bytes of the output that have been looked at.
    private var seen = 0
    private var isStalled = false
    private var lock: WriteLock?
    /// The state file fails, as the log says.
    var isFailing = false
    private var generation = 0
    /// Written in the last turn: what a kill takes away.
    private var freshOutput: [Edges.Received] = []
    private var freshReceipts: [ReferenceModel.Receipt] = []
    private var lastCommits = 0
    /// Since when something waits for a commit.
    private var uncommittedSince: Int64?

    /// - Parameter directory: exists, is empty, and is the caller's to remove.
    init(_ schedule: Schedule, directory: String, isTracing: Bool = false) throws {
        self.schedule = schedule
        self.directory = directory
        model = ReferenceModel(rules: schedule.setup.rules)
        trace = isTracing ? [] : nil
        output = LineWriter(try Descriptor.output("/dev/null"), name: "output")
        receipts = LineWriter(try Descriptor.output("/dev/null"), name: "receipts")
    }

    /// - Throws: `Violation`.
    func run() throws {
        try start()
        for step in schedule.steps {
            trace?.append("# \(step)")
            if case .crash = step {} else { try flush() }
            try perform(step)
        }
        trace?.append("# the faults stop")
        try finish()
    }

    func note(_ text: @autoclosure () -> String) {
        if trace != nil { trace?.append("  " + text()) }
    }

    // MARK: Processes

    private var path: String { "\(directory)/queue-\(generation).db" }

    private func start() throws {
        let setup = schedule.setup
        var settings = DeliverySettings()
        settings.queue.window = setup.rules.window
        settings.queue.windowBytes = setup.rules.windowBytes
        settings.queue.ackTimeout = setup.rules.ackTimeout
        settings.queue.attempts = setup.rules.attempts
        settings.queue.firstBackoff = setup.rules.firstBackoff
        settings.queue.longestBackoff = setup.rules.longestBackoff
        settings.queue.reconcile = setup.rules.reconcile
        settings.queue.maxMemory = setup.maxMemory
        settings.parkAtOnce = setup.parkAtOnce
        settings.commitDelay = setup.commitDelay
        settings.fullAt = setup.fullAt
        settings.overfullAt = setup.fullAt * 2
        output.buffer.removeAll(keepingCapacity: true)
        receipts.buffer.removeAll(keepingCapacity: true)
        seen = 0
        isFailing = false
        let store = try QueueStore.open(path, retainedMemory: setup.retained, extendsLog: false)
        stage = try QueueStage(
            settings: settings, store: store, output: output,
            receipts: SpillWriter(receipts, hold: 1 << 30, limit: 0, directory: directory), now: now,
            wallClock: { [unowned self] in now / 1000 }, notify: { [unowned self] in take($0) })
        lastCommits = store.commits
        uncommittedSince = nil
        model.started(now)
        try checkFile()
        producer.queueStarted()
    }

    private func take(_ notice: Notice) {
        switch notice.event {
        case "store_failed": isFailing = true
        case "store_recovered": isFailing = false
        default: break
        }
    }

    /// The files as they are now go to a new place, where a new process finds them; the old process never comes to write its own again.
    func crash(losesOutput: Bool, losesReceipts: Bool) throws {
        if !losesOutput { deliverOutput() }
        if !losesReceipts { try deliverReceipts() }
        freshOutput = []
        freshReceipts = []
        let old = path
        generation += 1
        let files = FileManager.default
        for part in ["", "-wal"] where files.fileExists(atPath: old + part) { try files.copyItem(atPath: old + part, toPath: path + part) }
        lock = nil
        stage = nil
        for part in ["", "-wal", "-shm", "-lock"] { try? files.removeItem(atPath: old + part) }
        model.crash()
        isStalled = false
        try start()
        try pump()
    }

    /// SIGTERM: what was read is stored.
    func stop() throws {
        lock = nil
        isStalled = false
        try rest()
        now += 1_000_000_000
        try rest()
        stage?.terminate(now: now)
        try tick()
        guard stage?.isDone ?? false, !model.isDirty else { throw Violation("not done after SIGTERM") }
        try flush()
        try crash(losesOutput: false, losesReceipts: false)
    }

    func setStalled(_ isOn: Bool) { isStalled = isOn }

    var isLocked: Bool { lock != nil }

    func setLocked(_ isOn: Bool) { lock = isOn ? lock ?? WriteLock(path) : nil }

    // MARK: Input

    /// - Returns: the queue reads this input (design: flow control, rule 1).
    func wants(feedback: Bool) throws -> Bool {
        guard let stage else { return false }
        let result = stage.wantsInput(feedback ? 0 : 1)
        let isFull = output.pending >= schedule.setup.fullAt
        if feedback {
            // With a failing state file the acknowledgements are a burden on memory, too.
            if !result, !isFailing { throw Violation("the feedback is not read") }
        } else if result {
            if isFailing { throw Violation("the cloud is read, although nothing can be stored") }
            if isFull { throw Violation("the cloud is read, although the output is full") }
        } else if !isFailing, !isFull, !schedule.setup.isTight {
            throw Violation("the cloud is not read")
        }
        return result
    }

    /// Hands a line to the queue.
    func give(_ text: String, feedback: Bool) throws {
        note("\(feedback ? "feedback" : "cloud") \(text.count > 300 ? String(text.prefix(300)) + "…" : text)")
        let bytes = Array(text.utf8)
        let outcome: Result<String?, any Error> = unsafe bytes.withUnsafeBytes { raw in
            Result { try unsafe stage?.take(Line.scan(raw), from: feedback ? 0 : 1, now: now) }
        }
        if let reason = try outcome.get() { throw Violation("refused a line: \(reason): \(text)") }
    }

    var counters: QueueCounters { stage?.machine.counters ?? QueueCounters() }

    /// A commit has happened since the last call: its receipts are due.
    func takeCommit() throws {
        let commits = stage?.store.commits ?? 0
        let text = String(decoding: receipts.buffer, as: UTF8.self)
        receipts.buffer.removeAll(keepingCapacity: true)
        let lines = text.split(separator: "\n")
        if commits == lastCommits {
            if lines.isEmpty { return }
            guard !model.isDirty else { throw Violation("receipts before their commit: \(text)") }
        }
        lastCommits = commits
        uncommittedSince = nil
        let due = model.committed()
        note("commit \(due.map { "\($0.message.id) \($0.fate)" })")
        guard lines.elementsEqual(due.map(\.line), by: ==) else {
            throw Violation("receipts \(text), but these were due: \(due.map(\.line).joined(separator: "\n"))")
        }
        freshReceipts += due
    }

    /// Notes the time of what has to be committed now.
    func noteWork() {
        if uncommittedSince == nil, model.isDirty || !model.receipts.isEmpty { uncommittedSince = now }
    }

    // MARK: Turns of the loop

    func tick() throws {
        model.elapse(now)
        let wasFull = output.pending >= schedule.setup.fullAt
        try stage?.tick(now: now)
        try takeCommit()
        if let since = uncommittedSince, now - since >= schedule.setup.commitDelay, !isFailing, lock == nil {
            throw Violation("a commit waits for longer than its delay")
        }
        var turns: [String: Int] = [:]
        for line in takeOutput() {
            switch line.kind {
            case "who": try model.asked(line.id)
            case "ack":
                if wasFull { throw Violation("sent \(line.id) to \(line.node), although the output is full") }
                try checkTurn(line.node, &turns)
                note("sent \(line.id) to \(line.node) session \(line.session ?? -1)")
                try model.sent(line.node, line.id, session: line.session ?? -1, now: now)
            default: throw Violation("unexpected output: \(line.kind) \(line.node) \(line.id)")
            }
        }
        if model.owesQuestion { throw Violation("the transport is not asked who is connected") }
        if !wasFull, output.pending > schedule.setup.fullAt + Self.longestLine { throw Violation("the output is more than full") }
        try compareCounters()
    }

    /// Bytes of what a full output may still get: the last message of a turn, and a question.
    private static let longestLine = 2000

    /// Nodes take turns: no node is served twice while another one, which has something to send, is not served.
    private func checkTurn(_ node: String, _ turns: inout [String: Int]) throws {
        for (other, count) in turns where other != node {
            if count > 1, model.couldSend(other) { throw Violation("\(node) was served twice before \(other)") }
        }
        turns[node] = 0
        for other in model.nodes.keys where other != node { turns[other] = model.couldSend(other) ? (turns[other] ?? 0) + 1 : 0 }
    }

    /// Turns until the queue would wait for input or time.
    func rest() throws {
        try tick()
        var turns = 0
        while true {
            if output.pending >= schedule.setup.fullAt { try flush() }
            guard let deadline = stage?.deadline, deadline <= now else { break }
            try flush()
            try tick()
            turns += 1
            if turns > 1000 { throw Violation("the queue does not come to rest") }
        }
        guard !isStalled, !isFailing, lock == nil else { return }
        if model.isDirty || !model.receipts.isEmpty { throw Violation("idle, and not everything is committed") }
        try checkMemory()
        for node in model.nodes.keys.sorted() {
            if let id = model.overdue(node, isTight: schedule.setup.isTight) {
                throw Violation("\(id) to \(node) is not sent, and nothing is in its way")
            }
            if !schedule.setup.isTight, model.nodes[node]?.pending.isEmpty ?? true { model.links[node]?.isSimple = true }
        }
    }

    /// Rule 8: a message whose node is offline occupies disk, not memory.
    private func checkMemory() throws {
        guard let stage, !model.links.values.contains(where: { $0.session != nil }) else { return }
        let bytes = stage.machine.memory + stage.store.memory
        if bytes > 0 { throw Violation("nobody is online, and messages occupy \(bytes) bytes") }
    }

    /// Lets time pass; what falls due happens at its time.
    func wait(_ nanoseconds: Int64) throws {
        let end = now + nanoseconds
        try rest()
        while true {
            let due = [stage?.deadline, model.deadline].compactMap { $0 }.filter { $0 > now }.min() ?? .max
            if due > end { break }
            now = due
            try rest()
            try flush()
        }
        now = end
    }

    // MARK: Output

    struct OutputLine {
        var kind = ""
        var node = ""
        var id = ""
        var session: Int64?
    }

    /// Lines written since the last call; `kind` is that of the envelope, or the event.
    func takeOutput() -> [OutputLine] {
        var result: [OutputLine] = []
        for part in output.buffer[seen...].split(separator: 0x0a) {
            unsafe part.withUnsafeBytes { raw in
                guard let line = try? unsafe Line.scan(raw) else { return result.append(OutputLine(kind: "no message")) }
                let hub = line.index.hub
                var item = OutputLine()
                item.kind = line.event?.rawValue ?? line.kind?.rawValue ?? "no kind"
                item.node = line.string(hub.node)
                item.id = line.string(line.index.header.messageID)
                item.session = hub.session
                result.append(item)
                if item.kind == "ack" { freshOutput.append(Edges.Received(node: item.node, session: item.session ?? -1, id: item.id)) }
            }
        }
        seen = output.buffer.count
        return result
    }

    /// What the queue wrote leaves it, unless its reader stands still.
    func flush() throws {
        try deliverReceipts()
        if !isStalled { deliverOutput() }
    }

    private func deliverOutput() {
        output.buffer.removeAll(keepingCapacity: true)
        seen = 0
        for item in freshOutput { edges.receive(item, producer.offered[Int(item.id.dropFirst()) ?? 0]) }
        freshOutput = []
    }

    private func deliverReceipts() throws {
        for receipt in freshReceipts { try producer.take(receipt) }
        freshReceipts = []
    }

    // MARK: The file

    /// The state file holds what the last commit made durable.
    func checkFile() throws {
        let reader = try StateReader.open(path)
        var names: [Int64: String] = [:]
        for node in try reader.nodes() {
            let name = String(decoding: node.name, as: UTF8.self)
            names[node.id] = name
            guard node.session == model.session(name) else {
                throw Violation("the file has session \(node.session ?? -1) of \(name), not \(model.session(name) ?? -1)")
            }
        }
        guard names.values.sorted() == model.durable.keys.sorted() else {
            throw Violation("the file has nodes \(names.values.sorted()), not \(model.durable.keys.sorted())")
        }
        var pending: [String: String] = [:]
        var order: [String: [String]] = [:]
        for row in try reader.messages(after: 0, limit: 100_000) {
            try unsafe row.line.withUnsafeBytes { raw in
                let line = try unsafe Line.scan(raw)
                let node = line.string(line.index.hub.node)
                let id = line.string(line.index.header.messageID)
                let key = line.string(line.index.hub.key)
                let isPathDeletion = line.equals(line.index.route.operation, "delete") && line.string(line.index.route.resource) == key
                if let other = pending.updateValue(id, forKey: "\(node)/\(isPathDeletion ? "\(key) \(id)" : key)") {
                    throw Violation("the file has two rows of a key: \(other) and \(id)")
                }
                order[node, default: []].append(id)
                try checkTrouble(row.trouble, node, id)
            }
        }
        var acknowledged: [String: String] = [:]
        for row in try reader.acknowledged(after: 0, [], limit: 100_000) {
            acknowledged["\(names[row.node] ?? "?")/\(String(decoding: row.key, as: UTF8.self))"] = String(
                decoding: row.version, as: UTF8.self)
        }
        try compare(
            "acknowledged versions", acknowledged,
            model.durable.flatMap { name, node in
                node.acknowledged.map { ("\(name)/\($0.key)", $0.value) }
            })
        for (name, node) in model.durable {
            let expected = node.pending.values.sorted { $0.place < $1.place }.map(\.message.id)
            let found = order[name] ?? []
            guard found == expected else { throw Violation("the file has \(found) pending for \(name), not \(expected)") }
        }
        try checkPromises(pending)
    }

    /// Rule 4, as `hub-queue list` shows it.
    private func checkTrouble(_ trouble: RowTrouble, _ node: String, _ id: String) throws {
        guard let item = model.durable[node]?.pending.values.first(where: { $0.message.id == id }) else { return }
        let error = trouble.error.map { String(decoding: $0, as: UTF8.self) }
        // A newer version may have it or not.
        guard error == item.error || item.errorIsOld && error == nil else {
            throw Violation("the file has \(error ?? "nothing") for the last error of \(id), not \(item.error ?? "nothing")")
        }
        guard let end = item.backoffEnd, trouble.backoffUntil != end / 1000 else { return }
        throw Violation("the file has \(trouble.backoffUntil ?? 0) for the end of the backoff of \(id), not \(end / 1000)")
    }

    private func compare(_ what: String, _ found: [String: String], _ expected: [(String, String)]) throws {
        let expected = Dictionary(uniqueKeysWithValues: expected)
        if found != expected { throw Violation("the file has the \(what) \(found), not \(expected)") }
    }

    /// Rule 8, from the producer's side: a message with a receipt is pending, or a later one of its key is, or its node has answered it.
    private func checkPromises(_ pending: [String: String]) throws {
        for (key, message) in producer.accepted {
            let waiting = pending[key].flatMap { Int($0.dropFirst()) } ?? -1
            guard
                waiting >= message.serial || edges.answered.contains(message.id)
                    || model.durable[message.node]?.truth[message.place] != message.id
            else { throw Violation("\(message.id) has a receipt, and is lost") }
        }
    }

    /// A new process has begun; what has no receipt is offered again.
    func pump() throws {
        while producer.hasMore, try wants(feedback: false), let message = producer.next() {
            let before = counters
            try give(message.line, feedback: false)
            let isFull = counters.repliesDroppedFull > before.repliesDroppedFull
            if isFull, !schedule.setup.isTight { throw Violation("a reply found no room") }
            model.accept(message, isFull: isFull)
            try takeCommit()
            try compareCounters()
        }
    }
}
