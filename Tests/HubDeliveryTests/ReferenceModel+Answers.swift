// Rules 3 and 4: acknowledgements, refusals, and time.

extension ReferenceModel {
    /// What the real queue made of an answer, for the cases in which the rules leave it the choice.
    struct Observed: Equatable {
        /// It was taken for an answer to a message.
        var isTaken: Bool
        /// A backoff began.
        var backsOff: Bool
    }

    private enum Place {
        case pending(String)
        case older(String, Int)
        case reply(Int)
    }

    /// Where a message with this id stands.
    private func place(_ name: String, _ id: String) -> Place? {
        guard let node = nodes[name] else { return nil }
        for (key, item) in node.pending.sorted(by: { $0.key < $1.key }) {
            if item.message.id == id { return .pending(key) }
            if let position = item.unanswered.lastIndex(where: { $0.id == id }) { return .older(key, position) }
        }
        return node.replies.firstIndex { $0.message.id == id && $0.wasSent }.map { .reply($0) }
    }

    /// The answer to a message that was never sent is unknown; what was sent before a restart, or before other messages of the node,
    /// cannot always be known.
    private func mayBeUnknown(_ name: String, _ key: String) -> Bool {
        guard let item = nodes[name]?.pending[key] else { return true }
        return !item.wasSent
    }

    private func mayBeKnown(_ name: String, _ key: String) -> Bool {
        guard let node = nodes[name], let item = node.pending[key] else { return false }
        return item.wasSent || item.isRestored || node.highestSent >= item.place
    }

    /// - Parameter isBlind: the queue cannot look into its file, so it need not know what it does not hold in memory.
    mutating func acknowledge(_ name: String, _ id: String, _ observed: Observed, isBlind: Bool) throws {
        let place = place(name, id)
        try check(name, place, id, observed, isBlind: isBlind)
        guard observed.isTaken, let place else {
            counts.unknown += 1
            return
        }
        counts.acknowledged += 1
        switch place {
        case .pending(let key):
            guard let item = nodes[name]?.pending.removeValue(forKey: key) else { return }
            change(name, key, item.message.path)
            nodes[name]?.lastOnPath[item.message.path] = id
            if item.message.isDelete { nodes[name]?.acknowledged[key] = nil } else { raise(name, item.message) }
        case .older(let key, let position):
            guard let message = nodes[name]?.pending[key]?.unanswered.remove(at: position) else { return }
            raise(name, message)
            if nodes[name]?.pending[key]?.flight?.id == id { nodes[name]?.pending[key]?.flight = nil }
        case .reply(let position):
            guard let item = nodes[name]?.replies.remove(at: position) else { return }
            raise(name, item.message)
        }
        if let window = links[name]?.window, session(name) != nil { links[name]?.window = min(window + 1, rules.window) }
    }

    /// The acknowledged version never goes back.
    private mutating func raise(_ name: String, _ message: Message) {
        guard !message.number.isEmpty else { return }
        isDirty = true
        if let old = nodes[name]?.acknowledged[message.key], !Message.isHigher(message.number, old) { return }
        nodes[name]?.acknowledged[message.key] = message.number
    }

    mutating func refuse(_ name: String, _ id: String, _ observed: Observed, _ content: String, isBlind: Bool, now: Int64) throws {
        let place = place(name, id)
        try check(name, place, id, observed, isBlind: isBlind)
        guard observed.isTaken, let place else {
            counts.unknownRefusals += 1
            return
        }
        counts.refused += 1
        switch place {
        case .pending(let key):
            guard var item = nodes[name]?.pending[key] else { return }
            isDirty = true
            item.flight = nil
            item.error = content
            item.errorIsOld = false
            let isBackoff = item.backoffEnd == nil && session(name) != nil
            // A refusal of an earlier session may find the message on disk only, and then changes nothing.
            if isBackoff, item.wasSentInSession, !observed.backsOff { throw Violation("the refusal of \(id) by \(name) began no backoff") }
            if !isBackoff, observed.backsOff { throw Violation("the refusal of \(id) by \(name) began a backoff") }
            if observed.backsOff { backOff(&item, now) }
            nodes[name]?.pending[key] = item
        case .older(let key, let position):
            isDirty = true
            nodes[name]?.pending[key]?.unanswered.remove(at: position)
            nodes[name]?.pending[key]?.error = content
            nodes[name]?.pending[key]?.errorIsOld = false
            if nodes[name]?.pending[key]?.flight?.id == id { nodes[name]?.pending[key]?.flight = nil }
        case .reply(let position):
            counts.repliesRefused += 1
            nodes[name]?.replies.remove(at: position)
        }
    }

    private func check(_ name: String, _ place: Place?, _ id: String, _ observed: Observed, isBlind: Bool) throws {
        guard case .pending(let key) = place else {
            guard observed.isTaken == (place != nil) else {
                throw Violation("the answer of \(name) to \(id) was \(observed.isTaken ? "taken, and nothing waits for it" : "ignored")")
            }
            return
        }
        if observed.isTaken, !mayBeKnown(name, key) { throw Violation("\(name) answered \(id), which was never sent, and that was taken") }
        if !observed.isTaken, !mayBeUnknown(name, key), !isBlind || nodes[name]?.pending[key]?.wasSentInSession ?? false {
            throw Violation("the answer of \(name) to \(id) was ignored")
        }
    }

    // MARK: Time

    mutating func elapse(_ now: Int64) {
        // Rule 9.
        if nextQuestion <= now {
            owesQuestion = true
            nextQuestion = now + rules.reconcile
        }
        for name in nodes.keys.sorted() {
            for key in nodes[name]?.pending.keys.sorted() ?? [] {
                guard var item = nodes[name]?.pending[key] else { continue }
                if let flight = item.flight, flight.due <= now {
                    expire(name, &item)
                    if item.attempts >= rules.attempts { backOff(&item, now) }
                } else if let end = item.backoffEnd, end <= now {
                    item.backoffEnd = nil
                    item.attempts = 0
                }
                nodes[name]?.pending[key] = item
            }
            var kept: [Pending] = []
            for var reply in nodes[name]?.replies ?? [] {
                if let flight = reply.flight, flight.due <= now {
                    expire(name, &reply)
                    if reply.attempts >= rules.attempts {
                        counts.repliesUnanswered += 1
                        continue
                    }
                }
                kept.append(reply)
            }
            nodes[name]?.replies = kept
        }
    }

    private mutating func expire(_ name: String, _ item: inout Pending) {
        counts.expired += 1
        item.flight = nil
        if let window = links[name]?.window { links[name]?.window = max(1, window / 2) }
    }

    private mutating func backOff(_ item: inout Pending, _ now: Int64) {
        counts.backoffs += 1
        var delay = rules.firstBackoff
        for _ in 0..<item.backoffs where delay < rules.longestBackoff { delay *= 2 }
        item.backoffs += 1
        item.backoffEnd = now + min(delay, rules.longestBackoff)
    }

    /// When something falls due.
    var deadline: Int64? {
        var earliest: Int64? = nextQuestion
        for node in nodes.values {
            for item in Array(node.pending.values) + node.replies {
                for time in [item.flight?.due, item.backoffEnd] {
                    if let time { earliest = min(earliest ?? time, time) }
                }
            }
        }
        return earliest
    }
}
