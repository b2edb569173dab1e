// The state machine between a clock that the test turns, a state file that is two dictionaries, and a list of what was sent.

import HubMessage
import HubQueue

/// Lines as hub-dispatch makes them.
enum Lines {
    static func ack(
        _ node: String, _ key: String, _ version: String, _ id: String, operation: String = "update", path: String? = nil,
        force: Bool = false, reply: Bool = false, padding: Int = 0
    ) -> String {
        let flags = (force ? ",\"force\":true" : "") + (reply ? ",\"reply\":true" : "")
        let version = version.isEmpty ? "" : ",\"version\":\"\(version)\""
        let path = path ?? "default/configmap/\(key)"
        return """
            {"hub":{"kind":"ack","node":"\(node)","key":"\(key)"\(version)\(flags),"object":{"kind":"X"}},"header":{"msg_id":"\(id)"},\
            "route":{"operation":"\(operation)","resource":"\(path)"},"content":"\(String(repeating: "x", count: padding))"}
            """
    }

    static func delete(_ node: String, _ key: String, _ id: String, path: String? = nil) -> String {
        ack(node, key, "", id, operation: "delete", path: path, force: true)
    }

    static func once(_ node: String, operation: String = "update", source: String = "edgecontroller", path: String = "a/lease/b") -> String
    {
        """
        {"hub":{"kind":"once","node":"\(node)"},"header":{"msg_id":"once"},\
        "route":{"source":"\(source)","operation":"\(operation)","resource":"\(path)"}}
        """
    }
}

struct TestQueue {
    struct Row: Equatable {
        var node: Int64
        var key: String
        var version: String
        var isDelete: Bool
        var messageID: String
        var path: String
        var line: String
        var wasSent = false
    }

    struct Sent: Equatable, CustomStringConvertible {
        let node: String
        let id: String
        let session: Int64
        var description: String { "\(node):\(id)@\(session)" }
    }

    struct Disk: Equatable {
        var nodes: [Int64: String] = [:]
        var rows: [Int64: Row] = [:]
        /// By node and key.
        var acknowledged: [String: String] = [:]
    }

    static let second: Int64 = 1_000_000_000

    var machine: QueueMachine
    var now: Int64 = 0
    /// With what is not yet committed, and as a crash would leave it.
    var disk = Disk()
    var committed = Disk()
    var commitsAtOnce = true
    var isOutputFull = false
    var sent: [Sent] = []
    var forwarded: [Int64] = []
    var closed: [Int64?] = []
    var asked = 0
    /// Row and line by slot.
    private var slots: [Int32: (id: Int64, line: String)] = [:]

    init(_ change: (inout QueueSettings) -> Void = { _ in }) {
        var settings = QueueSettings()
        change(&settings)
        machine = QueueMachine(settings: settings)
    }

    /// What a new process finds after a crash.
    mutating func crash() {
        disk = committed
        for id in disk.rows.keys { disk.rows[id]?.wasSent = true }
        slots = [:]
        machine = QueueMachine(settings: machine.settings, now: now)
        machine.restore(
            nodes: disk.nodes.map { ($0.key, Array($0.value.utf8)) }, nextRow: (disk.rows.keys.max() ?? 0) + 1,
            nextNodeID: (disk.nodes.keys.max() ?? 0) + 1)
    }

    // MARK: Input

    mutating func cloud(_ lines: String...) {
        for line in lines { cloud(line: line) }
        settle()
    }

    private mutating func cloud(line text: String) {
        withLine(text) { queue, line in
            if line.kind == .once {
                queue.machine.takeOnce(line, now: queue.now)
                return queue.perform(text)
            }
            let arrival = queue.machine.arrival(line)
            queue.perform(text)
            var stored = StoredKey()
            let node = queue.machine.storeID(of: arrival.node)
            let key = String(decoding: arrival.text.key, as: UTF8.self)
            if arrival.needsPending, let (id, row) = queue.disk.rows.first(where: { $0.value.node == node && $0.value.key == key }) {
                stored.pending = StoredKey.Pending(id: id, isDelete: row.isDelete, version: Array(row.version.utf8))
            }
            if arrival.needsAcknowledged { stored.acknowledged = queue.disk.acknowledged["\(node)/\(key)"].map { Array($0.utf8) } }
            if let after = arrival.needsPathAfter {
                let path = line.string(line.index.route.resource)
                let later = queue.disk.rows.filter { $0.value.node == node && $0.key > after && $0.value.path == path }
                stored.lastOnPath = later.keys.max() ?? 0
            }
            queue.machine.take(arrival, stored: stored)
            queue.perform(text, node: node)
        }
    }

    mutating func connect(_ node: String, _ session: Int64 = 1) {
        unsafe withBytes(node) { queue, name in unsafe queue.machine.connected(name, session: session) }
    }

    mutating func disconnect(_ node: String, _ session: Int64 = 1) {
        unsafe withBytes(node) { queue, name in unsafe queue.machine.disconnected(name, session: session) }
    }

    mutating func reset() {
        machine.reset()
        perform("")
        settle()
    }

    mutating func live(_ id: String) {
        unsafe withBytes(id) { queue, id in unsafe queue.machine.live(answering: id) }
    }

    mutating func acknowledge(_ node: String, _ ids: String...) {
        for id in ids { answer(node, id, refuses: false) }
    }

    mutating func refuse(_ node: String, _ id: String) { answer(node, id, refuses: true) }

    private mutating func answer(_ node: String, _ id: String, refuses: Bool) {
        let name = Array(node.utf8)
        let message = Array(id.utf8)
        let answer = unsafe name.withUnsafeBytes { name in
            unsafe message.withUnsafeBytes { message in
                unsafe refuses
                    ? machine.refuse(node: name, messageID: message, now: now) : machine.acknowledge(node: name, messageID: message)
            }
        }
        perform("")
        if case .unknown(let node, let hash, let after) = answer {
            let storeID = node.map { machine.storeID(of: $0) }
            let found = after.flatMap { after in
                disk.rows.first { $0.key > after && $0.value.node == storeID && $0.value.messageID == id && $0.value.wasSent }
            }
            if let found, let node {
                if refuses {
                    machine.refusalStored()
                } else {
                    disk.rows[found.key] = nil
                    note(found.value.node, found.value.key, found.value.isDelete ? nil : found.value.version)
                    machine.answerStored(
                        node: node, messageHash: hash, keyHash: ByteHash.of(Array(found.value.key.utf8)),
                        pathHash: ByteHash.of(Array(found.value.path.utf8)))
                }
            } else if refuses {
                machine.refusalIsUnknown()
            } else {
                machine.answerIsUnknown(node: node, messageHash: hash)
            }
        }
        settle()
    }

    /// Lets time pass; what falls due happens at its time.
    mutating func wait(_ seconds: Double) {
        let end = now + Int64(seconds * Double(Self.second))
        while let due = machine.deadline, due <= end {
            now = max(now, due)
            machine.tick(now: now)
            perform("")
            settle()
        }
        now = end
    }

    mutating func commit() {
        committed = disk
        machine.committed()
        settle(commits: false)
    }

    /// Everything of offline nodes leaves memory.
    mutating func park(_ limit: Int = .max) {
        machine.parkSome(limit)
        perform("")
    }

    // MARK: What follows from input

    private mutating func settle(commits: Bool = true) {
        if commits, commitsAtOnce { commit() }
        // Rows are read when everything is committed.
        while machine.wantsLoads, disk == committed, let request = machine.nextLoad() { load(request) }
        while !isOutputFull, let sending = machine.nextSending(now: now) {
            guard let held = slots[sending.slot] else { preconditionFailure("sent a slot that holds nothing") }
            if held.id >= 0 { disk.rows[held.id]?.wasSent = true }
            if held.id >= 0 { committed.rows[held.id]?.wasSent = true }
            let name = String(decoding: machine.name(of: sending.node), as: UTF8.self)
            sent.append(Sent(node: name, id: Self.messageID(held.line), session: sending.session))
        }
    }

    private mutating func load(_ request: LoadRequest) {
        let rows = disk.rows.filter { $0.value.node == request.storeID && $0.key > request.after }.sorted { $0.key < $1.key }
        for (id, row) in rows.prefix(request.limit) {
            withLine(row.line) { queue, line in
                let slot = queue.machine.loaded(
                    node: request.node, id: id, text: MessageText(line), size: row.line.utf8.count, isDelete: row.isDelete,
                    wasSent: row.wasSent)
                queue.slots[slot] = (id, row.line)
            }
        }
        machine.loadEnded(
            request, through: rows.prefix(request.limit).last?.key ?? request.after, isComplete: rows.count <= request.limit)
    }

    private mutating func perform(_ text: String, node: Int64 = 0) {
        for action in machine.actions {
            switch action {
            case .createNode(let node): disk.nodes[machine.storeID(of: node)] = String(decoding: machine.name(of: node), as: UTF8.self)
            case .noteSession, .noteError, .backOff: break
            case .forgetNode(let storeID):
                disk.nodes[storeID] = nil
                disk.rows = disk.rows.filter { $0.value.node != storeID }
                disk.acknowledged = disk.acknowledged.filter { !$0.key.hasPrefix("\(storeID)/") }
            case .close(let session): closed.append(session)
            case .keep(let slot, let id):
                slots[slot] = (id, text)
                disk.rows[id] = Self.row(text, node)
            case .hold(let slot): slots[slot] = (-1, text)
            case .replace(let slot):
                let id = machine.rowID(of: slot)
                slots[slot] = (id, text)
                disk.rows[id] = Self.row(text, node)
            case .park(let id), .replaceParked(let id): disk.rows[id] = Self.row(text, node)
            case .forward(let session): forwarded.append(session)
            case .acknowledge(let slot):
                let view = machine.row(of: slot)
                let key = String(decoding: view.text.key, as: UTF8.self)
                end(slot)
                note(view.storeNode, key, view.isDelete && !view.isReply ? nil : String(decoding: view.text.version, as: UTF8.self))
            case .raise(let slot, let version):
                let view = machine.row(of: slot)
                note(view.storeNode, String(decoding: view.text.key, as: UTF8.self), String(decoding: version, as: UTF8.self))
            case .drop(let slot): end(slot)
            case .evict(let slot): slots[slot] = nil
            case .ask: asked += 1
            }
        }
        machine.settle()
    }

    private mutating func end(_ slot: Int32) {
        if let id = slots.removeValue(forKey: slot)?.id, id >= 0 { disk.rows[id] = nil }
    }

    private mutating func note(_ node: Int64, _ key: String, _ version: String?) {
        let place = "\(node)/\(key)"
        guard let version else {
            disk.acknowledged[place] = nil
            return
        }
        let old = disk.acknowledged[place] ?? ""
        if version.utf8.count > old.utf8.count || (version.utf8.count == old.utf8.count && version > old) {
            disk.acknowledged[place] = version
        }
    }

    // MARK: Bytes

    private static func row(_ text: String, _ node: Int64) -> Row {
        var queue = TestQueue()
        return queue.withLine(text) { _, line in
            Row(
                node: node, key: String(decoding: MessageText(line).key, as: UTF8.self), version: line.string(line.index.hub.version),
                isDelete: line.equals(line.index.route.operation, "delete"), messageID: line.string(line.index.header.messageID),
                path: line.string(line.index.route.resource), line: text)
        }
    }

    private static func messageID(_ text: String) -> String {
        var queue = TestQueue()
        return queue.withLine(text) { _, line in line.string(line.index.header.messageID) }
    }

    @discardableResult
    mutating func withLine<Result>(_ text: String, _ body: (inout TestQueue, Line) -> Result) -> Result {
        let bytes = Array(text.utf8)
        return unsafe bytes.withUnsafeBytes { raw in
            guard let line = try? unsafe Line.scan(raw) else { preconditionFailure("a test's line is no message: \(text)") }
            do { try line.checkEnvelope() } catch { preconditionFailure("a test's envelope is wrong: \(text)") }
            return body(&self, line)
        }
    }

    private mutating func withBytes(_ text: String, _ body: (inout TestQueue, UnsafeRawBufferPointer) -> Void) {
        let bytes = Array(text.utf8)
        unsafe bytes.withUnsafeBytes { raw in unsafe body(&self, raw) }
        perform("")
        settle()
    }

    var sentIDs: [String] { sent.map(\.id) }
    var pendingKeys: [String] { disk.rows.sorted { $0.key < $1.key }.map(\.value.key) }
    var versions: [String] { disk.acknowledged.values.sorted() }
}
