// Who is connected (design: hub-queue, rules 5, 7 and 9).

extension QueueMachine {
    /// Rule 5. A `connected` with `again` is no different: for the session already known it only confirms (rule 9).
    package mutating func connected(_ name: UnsafeRawBufferPointer, session: Int64) {
        eventCount += 1
        let node = unsafe self.node(name)
        let number = Int(node)
        if nodes[number].isOnline {
            if session == nodes[number].session { nodes[number].confirmed = eventCount }
            guard session > nodes[number].session else { return }
            endSession(node)
        } else {
            guard session >= nodes[number].lastSession else { return }
        }
        counters.connected += 1
        onlineCount += 1
        hasBeenOnline = true
        nodes[number].session = session
        nodes[number].lastSession = session
        nodes[number].confirmed = eventCount
        nodes[number].window = settings.window
        actions.append(.noteSession(node))
        var slot = nodes[number].first
        while slot >= 0 {
            consider(slot)
            slot = entries[Int(slot)].nextOfNode
        }
        considerLoad(node)
    }

    package mutating func disconnected(_ name: UnsafeRawBufferPointer, session: Int64) {
        eventCount += 1
        guard let node = unsafe knownNode(name) else { return }
        let number = Int(node)
        guard session >= nodes[number].lastSession else { return }
        nodes[number].lastSession = session
        if nodes[number].isOnline { goOffline(node) }
    }

    /// The transport has started anew: no session lives, and any later one counts as newer.
    package mutating func reset() {
        eventCount += 1
        counters.resets += 1
        for number in nodes.indices where nodes[number].exists {
            if nodes[number].isOnline { goOffline(Int32(truncatingIfNeeded: number)) }
            nodes[number].lastSession = -1
        }
    }

    /// The question whose `msg_id` is `id` is on its way. Only the last few are remembered.
    package mutating func asked(_ id: [UInt8]) {
        if questions.count == 8 { questions.removeFirst() }
        questions.append((id, eventCount))
    }

    /// The transport has named every live session since the question: a node that it did not name is offline.
    package mutating func live(answering id: UnsafeRawBufferPointer) {
        guard let position = questions.firstIndex(where: { unsafe $0.id.elementsEqual(id) }) else { return }
        let asked = questions[position].asked
        questions.removeFirst(position + 1)
        for number in nodes.indices where nodes[number].isOnline && nodes[number].confirmed <= asked {
            counters.reconciled += 1
            goOffline(Int32(truncatingIfNeeded: number))
        }
    }

    /// Rule 7: everything of the node is forgotten and its session closed.
    mutating func forget(_ name: UnsafeRawBufferPointer) {
        counters.forgottenNodes += 1
        guard let node = unsafe knownNode(name) else {
            actions.append(.close(session: nil))
            return
        }
        let number = Int(node)
        let session = nodes[number].isOnline ? nodes[number].session : nil
        if session != nil { endSession(node) }
        while nodes[number].first >= 0 {
            let slot = nodes[number].first
            counters.droppedWithNode += 1
            actions.append(.drop(slot: slot))
            unlink(slot)
        }
        actions.append(.forgetNode(storeID: nodes[number].storeID))
        hasForgotten = true
        actions.append(.close(session: session))
        removeNode(node)
    }

    private mutating func goOffline(_ node: Int32) {
        counters.disconnected += 1
        endSession(node)
        actions.append(.noteSession(node))
        if nodes[Int(node)].first >= 0, !nodes[Int(node)].isParking {
            nodes[Int(node)].isParking = true
            parking.append(node)
        }
    }

    /// All in flight is pending again; replies end here; attempts and backoffs start anew.
    private mutating func endSession(_ node: Int32) {
        let number = Int(node)
        onlineCount -= 1
        nodes[number].session = -1
        nodes[number].ready.removeAll()
        var slot = nodes[number].first
        while slot >= 0 {
            let next = entries[Int(slot)].nextOfNode
            endSessionOfEntry(slot)
            slot = next
        }
    }

    private mutating func endSessionOfEntry(_ slot: Int32) {
        let at = Int(slot)
        if entries[at].isReply {
            counters.repliesDroppedUnanswered += 1
            actions.append(.drop(slot: slot))
            return unlink(slot)
        }
        switch entries[at].state {
        case .inFlight: endFlight(slot)
        case .backoff: nodes[Int(entries[at].node)].backingOff -= 1
        case .free, .waiting, .ready: break
        }
        forgetOlder(slot)
        entries[at].state = .waiting
        entries[at].wasSentInSession = false
        entries[at].attempts = 0
        entries[at].backoffs = 0
    }

    // MARK: End

    /// Nothing is pending for any node that is online.
    package var isDrained: Bool {
        for number in nodes.indices where nodes[number].isOnline {
            if nodes[number].count > 0 || nodes[number].hasDiskRows { return false }
        }
        return true
    }
}
