// What is sent next, and when it is sent again (design: hub-queue, rules 2, 4 and 8; "Flow control" rule 2).

extension QueueMachine {
    /// Most messages of one connected node in memory now: a fair share of half the memory, two windows at least.
    var heldPerNode: Int {
        let share = settings.maxMemory / 2 / QueueSettings.entryCost / max(1, onlineCount)
        return min(settings.heldPerNode, max(2 * settings.window, share))
    }

    /// Puts a waiting entry into its node's heap if it may be sent now.
    mutating func consider(_ slot: Int32) {
        let at = Int(slot)
        guard entries[at].state == .waiting, entries[at].previousOnPath < 0, !entries[at].isGated else { return }
        let node = entries[at].node
        let number = Int(node)
        guard nodes[number].isOnline else { return }
        if entries[at].isHeld { return }
        if hasForgotten || !unsettled.isEmpty, !entries[at].wasSentInSession, isUnsettled(at) { return gate(slot) }
        entries[at].state = .ready
        nodes[number].ready.insert(ReadyMessage(id: entries[at].id, slot: slot))
        enroll(node)
    }

    private func isUnsettled(_ at: Int) -> Bool {
        let node = entries[at].node
        return hasForgotten || unsettled.contains(ByteHash.within(node, entries[at].pathHash))
            || unsettled.contains(ByteHash.within(node, entries[at].keyHash))
    }

    /// Keeps an entry from being sent before the next commit.
    mutating func gate(_ slot: Int32) {
        guard !entries[Int(slot)].isGated else { return }
        entries[Int(slot)].isGated = true
        gated.append(ReadyMessage(id: entries[Int(slot)].id, slot: slot))
    }

    /// Everything that arrived so far is on disk.
    package mutating func committed() {
        batch += 1
        unsettled.removeAll(keepingCapacity: true)
        hasForgotten = false
        guard !gated.isEmpty else { return }
        let released = gated
        gated.removeAll(keepingCapacity: true)
        for message in released where entries[Int(message.slot)].id == message.id && entries[Int(message.slot)].isGated {
            entries[Int(message.slot)].isGated = false
            consider(message.slot)
        }
    }

    /// Gives the node a turn if it has something to send and its window is open.
    mutating func enroll(_ node: Int32) {
        let number = Int(node)
        guard !nodes[number].isInTurns, nodes[number].isOnline, !nodes[number].ready.isEmpty,
            nodes[number].flights < nodes[number].window
        else { return }
        nodes[number].isInTurns = true
        turns.append(node)
    }

    /// Some node may have its turn.
    package var wantsSending: Bool { !turns.isEmpty }

    /// The next message to be written, nil when nothing may go now. Nodes take turns, one message each.
    package mutating func nextSending(now: Int64) -> Sending? {
        while let node = turns.popFirst() {
            let number = Int(node)
            nodes[number].isInTurns = false
            guard nodes[number].isOnline, nodes[number].flights < nodes[number].window else { continue }
            guard let slot = firstReady(number) else { continue }
            let at = Int(slot)
            // A message larger than the window in bytes goes alone.
            guard nodes[number].flights == 0 || nodes[number].flightBytes + Int(entries[at].size) <= settings.windowBytes else { continue }
            nodes[number].ready.removeFirst()
            startFlight(slot, due: now + settings.ackTimeout)
            entries[at].attempts += 1
            if entries[at].wasSentInSession { counters.retries += 1 } else { counters.sent += 1 }
            entries[at].wasSent = true
            entries[at].wasSentInSession = true
            enroll(node)
            return Sending(slot: slot, id: entries[at].id, node: node, session: nodes[number].session)
        }
        return nil
    }

    /// The first entry of the node's heap that is still what it was.
    private mutating func firstReady(_ number: Int) -> Int32? {
        while let first = nodes[number].ready.first {
            let at = Int(first.slot)
            if entries[at].id == first.id, entries[at].state == .ready { return first.slot }
            nodes[number].ready.removeFirst()
        }
        return nil
    }

    /// The message could not be read from the state file; it is tried again after a backoff.
    package mutating func sendingFailed(_ slot: Int32, now: Int64) {
        endFlight(slot)
        backOff(slot, now: now)
        enroll(entries[Int(slot)].node)
    }

    // MARK: Time

    /// When `tick` has something to do, in nanoseconds; nil for never.
    package var deadline: Int64? {
        var earliest = nextQuestion
        if firstInFlight >= 0 { earliest = min(earliest ?? .max, entries[Int(firstInFlight)].due) }
        if let first = backoffEnds.first { earliest = min(earliest ?? .max, first.time) }
        return earliest
    }

    /// Expires acknowledgements, ends backoffs, asks the transport.
    package mutating func tick(now: Int64) {
        while firstInFlight >= 0, entries[Int(firstInFlight)].due <= now { expire(firstInFlight, now: now) }
        while let end = backoffEnds.first, end.time <= now {
            backoffEnds.removeFirst()
            let at = Int(end.slot)
            guard entries[at].id == end.id, entries[at].state == .backoff, entries[at].due == end.time else { continue }
            nodes[Int(entries[at].node)].backingOff -= 1
            entries[at].state = .waiting
            entries[at].attempts = 0
            consider(end.slot)
        }
        if let time = nextQuestion, time <= now {
            nextQuestion = settings.reconcile.map { now + $0 }
            actions.append(.ask)
        }
    }

    private mutating func expire(_ slot: Int32, now: Int64) {
        let at = Int(slot)
        let node = entries[at].node
        let number = Int(node)
        counters.expired += 1
        endFlight(slot)
        nodes[number].window = max(1, nodes[number].window / 2)
        if Int(entries[at].attempts) < settings.attempts {
            consider(slot)
        } else if entries[at].isReply {
            counters.repliesDroppedUnanswered += 1
            actions.append(.drop(slot: slot))
            unlink(slot)
        } else {
            backOff(slot, now: now)
        }
        enroll(node)
        considerLoad(node)
    }

    mutating func backOff(_ slot: Int32, now: Int64) {
        let at = Int(slot)
        counters.backoffs += 1
        let shift = min(Int64(entries[at].backoffs), 30)
        let (doubled, overflow) = settings.firstBackoff.multipliedReportingOverflow(by: 1 << shift)
        entries[at].backoffs += 1
        entries[at].state = .backoff
        entries[at].due = now + (overflow ? settings.longestBackoff : min(doubled, settings.longestBackoff))
        nodes[Int(entries[at].node)].backingOff += 1
        backoffEnds.insert(BackoffEnd(time: entries[at].due, id: entries[at].id, slot: slot))
        actions.append(.backOff(slot: slot))
    }
}
