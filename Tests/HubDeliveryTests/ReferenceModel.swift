// What hub-queue must do, written from the design's section "hub-queue" alone: dictionaries, no memory bound, no lists, no heaps.
// The checker shows it each event and each line that the real queue writes; it says what had to come of them.
//
// Where the rules leave a choice, the model takes both (`Observed` tells which one was taken).

struct ReferenceModel {
    struct Rules {
        var window = 64
        var windowBytes = 1 << 20
        var ackTimeout: Int64 = 5_000_000_000
        var attempts = 5
        var firstBackoff: Int64 = 1_000_000_000
        var longestBackoff: Int64 = 300_000_000_000
        var reconcile: Int64 = 30_000_000_000
    }

    struct Flight: Equatable {
        let id: String
        let due: Int64
        let size: Int
    }

    struct Pending {
        var message: Message
        /// The place in the order of arrival: that of the key, whichever version is pending.
        var place: Int
        var size: Int
        /// This message was sent, in this session or an earlier one.
        var wasSent = false
        var wasSentInSession = false
        /// Some version of the key was pending when the process started, which cannot know all that was sent before.
        var isRestored = false
        var attempts = 0
        var backoffs = 0
        var backoffEnd: Int64?
        var flight: Flight?
        /// What the node said when it last refused the key, and whether that was about an older version.
        var error: String?
        var errorIsOld = false
        /// A newer version came with another path; that has the older one's place in the order, on a path that others may stand on.
        var hasMoved = false
        /// Older versions sent in this session and not answered.
        var unanswered: [Message] = []
    }

    struct Node {
        var pending: [String: Pending] = [:]
        var replies: [Pending] = []
        var acknowledged: [String: String] = [:]
        /// Of each key the message that was taken last (see `Message.place`).
        var truth: [String: String] = [:]
        /// Of each path the message that was acknowledged last.
        var lastOnPath: [String: String] = [:]
        var highestSent = -1
    }

    /// What a process knows of a node's connection.
    struct Link {
        var session: Int64?
        var last: Int64 = -1
        var window = 0
        var confirmed = 0
        /// All was quiet and nothing pending once in this session, so that what came since is in memory, if there is enough of that.
        var isSimple = false
    }

    struct Receipt: Equatable {
        let message: Message
        var fate: String
        var reason: String

        /// The line that tells it.
        var line: String {
            let end = reason.isEmpty ? "}" : ",\"reason\":\"\(reason)\"}"
            return """
                {"msg_id":"\(message.id)","node":"\(message.node)","key":"\(message.key)","version":"\(message.version)","fate":"\(fate)"\(end)
                """
        }
    }

    let rules: Rules
    var nodes: [String: Node] = [:]
    /// What the last commit made durable.
    var durable: [String: Node] = [:]
    var links: [String: Link] = [:]
    /// Receipts due with the next commit.
    var receipts: [Receipt] = []
    /// Something changed since the last commit that the file must know.
    var isDirty = false
    /// Keys and paths changed since then, as node/key and node/path.
    var touched: Set<String> = []
    /// Paths that a pending key has left or come to, as node@path.
    var movedPaths: Set<String> = []
    var nextPlace = 0
    var events = 0
    var questions: [(id: String, events: Int)] = []
    /// When the transport must be asked, and that it must be asked now.
    var nextQuestion: Int64 = 0
    var owesQuestion = false
    var counts = Counts()

    struct Counts: Equatable {
        var accepted = 0, superseded = 0, stale = 0, behindDelete = 0, sent = 0, retries = 0, acknowledged = 0, unknown = 0, expired = 0
        var backoffs = 0, refused = 0, unknownRefusals = 0, forwarded = 0, onceDropped = 0, repliesOffline = 0, repliesUnanswered = 0
        var repliesFull = 0, repliesRefused = 0, repliesOvertaken = 0, connected = 0, disconnected = 0, resets = 0, reconciled = 0,
            forgotten = 0
    }

    init(rules: Rules) { self.rules = rules }

    func session(_ node: String) -> Int64? { links[node]?.session }

    mutating func change(_ node: String, _ key: String, _ paths: String...) {
        isDirty = true
        touched.insert("\(node)/\(key)")
        for path in paths { touched.insert("\(node)/\(path)") }
    }

    // MARK: Rule 1

    /// - Parameter isFull: the queue had no memory for a reply.
    /// - Returns: its fate so far.
    mutating func accept(_ message: Message, isFull: Bool) {
        if nodes[message.node] == nil {
            nodes[message.node] = Node()
            isDirty = true
        }
        let (fate, reason) = fate(message, isFull: isFull)
        receipts.append(Receipt(message: message, fate: fate, reason: reason))
    }

    private mutating func fate(_ message: Message, isFull: Bool) -> (String, String) {
        if message.isReply { return takeReply(message, isFull: isFull) }
        var node = nodes[message.node] ?? Node()
        defer { nodes[message.node] = node }
        if var old = node.pending[message.place] {
            if old.message.isDelete {
                counts.behindDelete += 1
                return ("stale", "the deletion of its key is pending")
            }
            if !message.isForced, !Message.isHigher(message.number, old.message.number) {
                counts.stale += 1
                return ("stale", "not newer than the pending version")
            }
            counts.superseded += 1
            change(message.node, message.place, message.path, old.message.path)
            supersede(old.message)
            if old.message.path != message.path {
                old.hasMoved = true
                movedPaths.formUnion(["\(message.node)@\(old.message.path)", "\(message.node)@\(message.path)"])
            }
            if old.wasSentInSession {
                old.unanswered.append(old.message)
                // A bound of the queue.
                if old.unanswered.count > 16 { old.unanswered.removeFirst() }
            }
            old.message = message
            old.size = message.line.utf8.count
            old.wasSent = false
            old.wasSentInSession = false
            old.attempts = 0
            old.backoffs = 0
            old.backoffEnd = nil
            old.errorIsOld = true
            node.pending[message.place] = old
            let kept = node.replies.filter { reply in
                reply.message.path != message.path || reply.place < old.place
                    || !message.isDelete && reply.message.key == message.key && !Message.isHigher(message.number, reply.message.number)
            }
            counts.repliesOvertaken += node.replies.count - kept.count
            node.replies = kept
        } else {
            if !message.isForced, let acknowledged = node.acknowledged[message.key], !Message.isHigher(message.number, acknowledged) {
                counts.stale += 1
                return ("stale", "not newer than the acknowledged version")
            }
            change(message.node, message.place, message.path)
            node.pending[message.place] = Pending(message: message, place: nextPlace, size: message.line.utf8.count)
            nextPlace += 1
        }
        counts.accepted += 1
        node.truth[message.place] = message.id
        return ("accepted", "")
    }

    private mutating func takeReply(_ message: Message, isFull: Bool) -> (String, String) {
        guard session(message.node) != nil else {
            counts.repliesOffline += 1
            return ("stale", "a reply, and the node is offline")
        }
        guard !isFull else {
            counts.repliesFull += 1
            return ("refused", "too many replies wait for the node")
        }
        counts.accepted += 1
        nodes[message.node]?.replies.append(Pending(message: message, place: nextPlace, size: message.line.utf8.count))
        nextPlace += 1
        return ("accepted", "a reply, held for the session only")
    }

    /// A message that a newer one replaces before it is durable.
    private mutating func supersede(_ message: Message) {
        if let position = receipts.lastIndex(where: { $0.message == message && $0.fate == "accepted" }) {
            receipts[position].fate = "superseded"
            receipts[position].reason = "a newer message of its key came"
        }
    }

    // MARK: Rules 6 and 7

    /// - Returns: the session that a `once` line must be forwarded to now.
    mutating func once(_ node: String) -> Int64? { session(node) }

    /// Everything of the node is forgotten.
    /// - Returns: the session to be closed.
    mutating func forget(_ name: String) -> Int64? {
        counts.forgotten += 1
        let session = session(name)
        guard nodes[name] != nil else { return session }
        counts.repliesUnanswered += nodes[name]?.replies.count ?? 0
        nodes[name] = nil
        links[name] = nil
        isDirty = true
        touched.insert(name)
        for position in receipts.indices where receipts[position].message.node == name && receipts[position].fate == "accepted" {
            receipts[position].fate = "superseded"
            receipts[position].reason = "its node was deleted"
        }
        return session
    }

    // MARK: Rules 5 and 9

    mutating func connected(_ name: String, _ session: Int64) {
        events += 1
        if nodes[name] == nil {
            nodes[name] = Node()
            isDirty = true
        }
        var link = links[name] ?? Link()
        if session == link.session { link.confirmed = events }
        if let current = link.session, session <= current {
            links[name] = link
            return
        }
        guard session >= link.last else { return }
        if link.session != nil { endSession(name) }
        counts.connected += 1
        links[name] = Link(session: session, last: session, window: rules.window, confirmed: events)
    }

    mutating func disconnected(_ name: String, _ session: Int64) {
        events += 1
        guard nodes[name] != nil else { return }
        var link = links[name] ?? Link()
        guard session >= link.last else { return }
        link.last = session
        if link.session != nil {
            counts.disconnected += 1
            endSession(name)
            link.session = nil
        }
        links[name] = link
    }

    mutating func reset() {
        events += 1
        counts.resets += 1
        for name in nodes.keys.sorted() {
            if session(name) != nil {
                counts.disconnected += 1
                endSession(name)
            }
            links[name] = nil
        }
    }

    mutating func asked(_ id: String) throws {
        guard owesQuestion else { throw Violation("the transport is asked who is connected, and that is not due") }
        owesQuestion = false
        // A bound of the queue.
        if questions.count == 8 { questions.removeFirst() }
        questions.append((id, events))
    }

    mutating func live(_ id: String) {
        guard let position = questions.firstIndex(where: { $0.id == id }) else { return }
        let asked = questions[position].events
        questions.removeFirst(position + 1)
        for (name, link) in links.sorted(by: { $0.key < $1.key }) where link.session != nil && link.confirmed <= asked {
            counts.reconciled += 1
            counts.disconnected += 1
            endSession(name)
            links[name]?.session = nil
        }
    }

    /// All in flight is pending again; replies end; attempts and backoffs begin anew.
    private mutating func endSession(_ name: String) {
        counts.repliesUnanswered += nodes[name]?.replies.count ?? 0
        nodes[name]?.replies = []
        for key in nodes[name]?.pending.keys.sorted() ?? [] {
            guard var item = nodes[name]?.pending[key] else { continue }
            item.flight = nil
            item.backoffEnd = nil
            item.attempts = 0
            item.backoffs = 0
            item.wasSentInSession = false
            item.unanswered = []
            nodes[name]?.pending[key] = item
        }
    }

    // MARK: Rule 8

    /// A process has started.
    mutating func started(_ now: Int64) {
        nextQuestion = now
        owesQuestion = false
    }

    /// Everything taken so far is durable.
    /// - Returns: the receipts that are due.
    mutating func committed() -> [Receipt] {
        durable = nodes
        isDirty = false
        touched = []
        defer { receipts = [] }
        return receipts
    }

    /// The process is gone; a new one starts with what was durable.
    mutating func crash() {
        nodes = durable
        for (name, node) in durable {
            nodes[name]?.replies = []
            for key in node.pending.keys {
                nodes[name]?.pending[key]?.isRestored = true
                nodes[name]?.pending[key]?.wasSentInSession = false
                nodes[name]?.pending[key]?.flight = nil
                nodes[name]?.pending[key]?.backoffEnd = nil
                nodes[name]?.pending[key]?.attempts = 0
                nodes[name]?.pending[key]?.backoffs = 0
                nodes[name]?.pending[key]?.unanswered = []
            }
        }
        links = [:]
        receipts = []
        isDirty = false
        touched = []
        questions = []
        events = 0
        counts = Counts()
    }
}
