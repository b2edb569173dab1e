// Rules 2 and 8: what may be sent, what must be sent, and in which order.

extension ReferenceModel {
    /// Everything pending of a node, replies included, in order of arrival.
    private func ordered(_ name: String) -> [Pending] {
        guard let node = nodes[name] else { return [] }
        return (Array(node.pending.values) + node.replies).sorted { $0.place < $1.place }
    }

    /// What may be sent as far as the messages themselves go: the first of its path, not in flight, not backing off.
    private func candidates(_ name: String) -> [Pending] {
        var paths: Set<String> = []
        return ordered(name).filter { item in
            paths.insert(item.message.path).inserted && item.flight == nil && item.backoffEnd == nil
        }
    }

    private func flights(_ name: String) -> [Flight] { ordered(name).compactMap(\.flight) }

    private func fits(_ name: String, _ item: Pending) -> Bool {
        let flights = flights(name)
        guard flights.count < links[name]?.window ?? 0 else { return false }
        return flights.isEmpty || flights.reduce(item.size) { $0 + $1.size } <= rules.windowBytes
    }

    /// Rule 8: why a message must not leave before the next commit.
    private func gate(_ name: String, _ item: Pending) -> String? {
        guard !item.message.isReply, let file = durable[name] else { return nil }
        if nodes[name] == nil { return nil }
        let onDisk = file.pending[item.message.place]
        if onDisk?.message == item.message { return nil }
        if let onDisk { return "\(onDisk.message.id) of its key is pending on disk" }
        for old in file.pending.values where old.message.path == item.message.path && old.place < item.place {
            return "\(old.message.id) of its path is pending on disk"
        }
        return nil
    }

    private func isTouched(_ name: String, _ item: Pending) -> Bool {
        touched.contains(name) || touched.contains("\(name)/\(item.message.place)") || touched.contains("\(name)/\(item.message.path)")
    }

    /// The real queue has written a message for a node.
    mutating func sent(_ name: String, _ id: String, session: Int64, now: Int64) throws {
        let what = "\(id) to \(name)"
        guard let current = self.session(name) else { throw Violation("sent \(what), which is offline") }
        guard session == current else { throw Violation("sent \(what) with session \(session), but \(current) is live") }
        let all = ordered(name)
        guard let item = all.first(where: { $0.message.id == id }) else {
            let older = all.contains { $0.unanswered.contains { $0.id == id } }
            throw Violation("sent \(what), which \(older ? "a newer version has replaced" : "is not pending")")
        }
        guard item.flight == nil else { throw Violation("sent \(what) while \(item.flight?.id ?? "") of its key is in flight") }
        guard item.backoffEnd == nil else { throw Violation("sent \(what) during its backoff") }
        if let first = all.first(where: { $0.message.path == item.message.path }), first.place != item.place,
            !(first.hasMoved && item.message.isReply)
        {
            throw Violation("sent \(what) before \(first.message.id), which came before it on its path")
        }
        if let reason = gate(name, item) { throw Violation("sent \(what) before its commit: \(reason)") }
        guard flights(name).count < links[name]?.window ?? 0 else { throw Violation("sent \(what) beyond its window of messages") }
        guard fits(name, item) else { throw Violation("sent \(what) beyond its window of bytes") }
        // A reply may pass rows that lie on disk, and those it.
        let isSimple = links[name]?.isSimple ?? false
        if let before = candidates(name).first(where: {
            $0.place < item.place && !isTouched(name, $0) && (isSimple || $0.message.isReply == item.message.isReply)
        }) {
            throw Violation("sent \(what) before \(before.message.id), which came first")
        }
        note(name, item, now)
    }

    private mutating func note(_ name: String, _ item: Pending, _ now: Int64) {
        var item = item
        if item.wasSentInSession { counts.retries += 1 } else { counts.sent += 1 }
        item.flight = Flight(id: item.message.id, due: now + rules.ackTimeout, size: item.size)
        item.attempts += 1
        item.wasSent = true
        item.wasSentInSession = true
        if item.message.isReply {
            if let position = nodes[name]?.replies.firstIndex(where: { $0.place == item.place }) { nodes[name]?.replies[position] = item }
        } else {
            let highest = nodes[name]?.highestSent ?? -1
            nodes[name]?.pending[item.message.place] = item
            nodes[name]?.highestSent = max(highest, item.place)
        }
    }

    /// The message of a node that must be sent when nothing else happens, nil when none must.
    ///
    /// - Parameter isTight: memory is short: the queue looks only at the first two windows of a node, and sends at least four at a time.
    func overdue(_ name: String, isTight: Bool) -> String? {
        let candidates = candidates(name)
        guard session(name) != nil, let first = candidates.first, fits(name, first) else { return nil }
        // A reply may pass rows that lie on disk, and then wait for room itself.
        if !(links[name]?.isSimple ?? false), candidates.contains(where: { $0.message.isReply && !fits(name, $0) }) { return nil }
        if isTight {
            if flights(name).count >= 4 { return nil }
            let rows = ordered(name).filter { !$0.message.isReply && $0.place < first.place }
            if rows.count >= 2 * rules.window { return nil }
        }
        return first.message.id
    }

    /// A node of which everything is in memory has a message that could leave now.
    func couldSend(_ name: String) -> Bool {
        guard links[name]?.isSimple ?? false, session(name) != nil, let first = candidates(name).first else { return false }
        return fits(name, first) && !isTouched(name, first)
    }
}
