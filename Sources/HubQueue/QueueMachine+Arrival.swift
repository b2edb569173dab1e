// What becomes of a line from the cloud (design: hub-queue, rules 1, 6 and 7).

package import HubMessage

extension QueueMachine {
    /// Looks at an `ack` line whose envelope has been checked, and says what must be known from the state file to decide on it.
    package mutating func arrival(_ line: Line) -> Arrival {
        let node = unsafe line.withValue(line.index.hub.node) { name in unsafe self.node(name) }
        let text = MessageText(line)
        let keyHash = text.keyHash
        let isReply = line.index.hub.reply
        let slot =
            isReply
            ? nil
            : byKey.find(ByteHash.within(node, keyHash)) { slot in
                entries[Int(slot)].node == node && entries[Int(slot)].text.hasSameKey(as: text)
            }
        let isForced = line.index.hub.force
        let hasDiskRows = nodes[Int(node)].hasDiskRows
        return Arrival(
            node: node, text: text, keyHash: keyHash, pathHash: text.pathHash, messageHash: text.messageHash,
            size: unsafe line.bytes.count, isReply: isReply, isDelete: line.equals(line.index.route.operation, "delete"),
            isForced: isForced, slot: slot, needsPending: !isReply && slot == nil && hasDiskRows,
            needsAcknowledged: !isReply && slot == nil && !isForced,
            needsPathAfter: isReply && hasDiskRows && nodes[Int(node)].isOnline ? nodes[Int(node)].loadedThrough : nil)
    }

    /// Rule 1.
    @discardableResult
    package mutating func take(_ arrival: Arrival, stored: StoredKey = StoredKey()) -> Outcome {
        if arrival.isReply { return takeReply(arrival, lastOnPath: stored.lastOnPath) }
        if let slot = arrival.slot {
            if let reason = dropped(arrival, isDelete: entries[Int(slot)].isDelete, version: entries[Int(slot)].text.version) {
                return reason
            }
            counters.accepted += 1
            counters.superseded += 1
            replace(slot, arrival)
            return .taken
        }
        if let pending = stored.pending {
            if let reason = dropped(arrival, isDelete: pending.isDelete, version: pending.version[...]) { return reason }
            counters.accepted += 1
            counters.superseded += 1
            actions.append(.replaceParked(id: pending.id))
            dropReplies(overtakenBy: arrival, at: pending.id)
            return .taken
        }
        if !arrival.isForced, let acknowledged = stored.acknowledged, !arrival.text.isNewer(than: acknowledged) {
            counters.stale += 1
            return .notNewerThanAcknowledged
        }
        counters.accepted += 1
        let id = nextRow
        nextRow += 1
        let node = Int(arrival.node)
        guard nodes[node].isOnline, !nodes[node].hasDiskRows, mayHold, nodes[node].count < heldPerNode else {
            park(node, id)
            return .taken
        }
        let slot = link(entry(arrival, id))
        actions.append(.keep(slot: slot, id: id))
        consider(slot)
        return .taken
    }

    /// Why the pending message of its key is not replaced by `arrival`; nil when it is.
    private mutating func dropped(_ arrival: Arrival, isDelete: Bool, version: ArraySlice<UInt8>) -> Outcome? {
        if isDelete {
            counters.droppedBehindDelete += 1
            return .behindDelete
        }
        guard arrival.isForced || arrival.text.isNewer(than: version) else {
            counters.stale += 1
            return .notNewerThanPending
        }
        return nil
    }

    private mutating func park(_ node: Int, _ id: Int64) {
        if !nodes[node].hasDiskRows {
            nodes[node].hasDiskRows = true
            nodes[node].loadedThrough = id - 1
        }
        actions.append(.park(id: id))
        considerLoad(Int32(truncatingIfNeeded: node))
    }

    private func entry(_ arrival: Arrival, _ id: Int64) -> Entry {
        var entry = Entry()
        entry.id = id
        entry.text = arrival.text
        entry.keyHash = arrival.keyHash
        entry.pathHash = arrival.pathHash
        entry.messageHash = arrival.messageHash
        entry.size = Int32(truncatingIfNeeded: arrival.size)
        entry.node = arrival.node
        entry.isReply = arrival.isReply
        entry.isDelete = arrival.isDelete
        entry.batch = batch
        entry.state = .waiting
        return entry
    }

    /// A reply stands beside the key, lives in memory only, and ends with the session.
    private mutating func takeReply(_ arrival: Arrival, lastOnPath: Int64) -> Outcome {
        let node = Int(arrival.node)
        guard nodes[node].isOnline else {
            counters.repliesDroppedOffline += 1
            return .replyToNobody
        }
        guard nodes[node].replies < heldPerNode else {
            counters.repliesDroppedFull += 1
            return .tooManyReplies
        }
        counters.accepted += 1
        var entry = entry(arrival, nextRow)
        nextRow += 1
        entry.holdUntil = lastOnPath
        entry.isHeld = nodes[node].hasDiskRows && lastOnPath > nodes[node].loadedThrough
        if entry.isHeld { nodes[node].held += 1 }
        let slot = link(entry)
        actions.append(.hold(slot: slot))
        consider(slot)
        return .taken
    }

    /// A newer version takes the place of the pending one, and its place in the order.
    private mutating func replace(_ slot: Int32, _ arrival: Arrival) {
        let at = Int(slot)
        if entries[at].wasSentInSession {
            if entries[at].older.count == Entry.maxOlder {
                let oldest = entries[at].older.removeFirst()
                byMessage.remove(ByteHash.within(entries[at].node, oldest.hash), slot)
            }
            entries[at].older.append(
                Unanswered(
                    hash: entries[at].messageHash, messageID: [UInt8](entries[at].text.messageID),
                    version: [UInt8](entries[at].text.version)))
        } else {
            byMessage.remove(byMessageHash(slot), slot)
        }
        if entries[at].state == .inFlight, !entries[at].flightIsOlder { entries[at].flightIsOlder = true }
        var freed: Int32?
        let changesPath = !entries[at].text.hasSamePath(as: arrival.text)
        if changesPath {
            // On disk the older version still stands on its path: nobody takes its place there before the commit.
            if entries[at].batch < batch { settleLater(entries[at].node, entries[at].keyHash, entries[at].pathHash) }
            freed = unlinkFromPath(slot)
        }
        entries[at].text = arrival.text
        entries[at].pathHash = arrival.pathHash
        entries[at].messageHash = arrival.messageHash
        entries[at].size = Int32(truncatingIfNeeded: arrival.size)
        entries[at].isDelete = arrival.isDelete
        entries[at].wasSent = false
        entries[at].wasSentInSession = false
        entries[at].attempts = 0
        entries[at].backoffs = 0
        if changesPath { linkToPath(slot) }
        byMessage.insert(byMessageHash(slot), slot)
        switch entries[at].state {
        case .backoff:
            nodes[Int(entries[at].node)].backingOff -= 1
            entries[at].state = .waiting
        case .ready: entries[at].state = .waiting
        case .free, .waiting, .inFlight: break
        }
        // The older version lies on disk: after a crash it would be sent after this one (design: hub-queue, rule 8).
        if entries[at].batch < batch { gate(slot) }
        actions.append(.replace(slot: slot))
        consider(slot)
        dropReplies(overtakenBy: arrival, at: entries[at].id)
        if let freed { consider(freed) }
        if changesPath {
            // What stood behind it in the window may go now.
            enroll(entries[at].node)
            considerLoad(entries[at].node)
        }
    }

    /// A message that takes the place of an older one goes before replies that came before it. Those would take the node back.
    /// - Parameter place: the row's number.
    private mutating func dropReplies(overtakenBy arrival: Arrival, at place: Int64) {
        guard nodes[Int(arrival.node)].replies > 0 else { return }
        let last = byPath.find(ByteHash.within(arrival.node, arrival.pathHash)) { other in
            entries[Int(other)].node == arrival.node && entries[Int(other)].text.hasSamePath(as: arrival.text)
        }
        var slot = last ?? -1
        while slot >= 0, entries[Int(slot)].id > place {
            let at = Int(slot)
            let before = entries[at].previousOnPath
            let isCurrent =
                !arrival.isDelete && entries[at].text.hasSameKey(as: arrival.text)
                && !arrival.text.isNewer(than: entries[at].text.version)
            if entries[at].isReply, !isCurrent {
                counters.repliesOvertaken += 1
                actions.append(.drop(slot: slot))
                unlink(slot)
            }
            slot = before
        }
        // One of them may have been in flight: there is room in the window, and perhaps nothing else will happen to this node.
        enroll(arrival.node)
        considerLoad(arrival.node)
    }

    /// A `once` line whose envelope has been checked.
    package mutating func takeOnce(_ line: Line, now: Int64) {
        if deletesNode(line) {
            unsafe line.withValue(line.index.hub.node) { name in unsafe forget(name) }
            return
        }
        let node = unsafe line.withValue(line.index.hub.node) { name in unsafe knownNode(name) }
        guard let node, nodes[Int(node)].isOnline else {
            counters.onceDroppedOffline += 1
            return
        }
        counters.onceForwarded += 1
        actions.append(.forward(session: nodes[Int(node)].session))
    }

    /// The surroundings could not forward the `once` line: the output has been full for too long.
    package mutating func onceWasDropped() {
        counters.onceForwarded -= 1
        counters.onceDroppedFull += 1
    }

    /// Rule 7: operation `delete`, source `edgecontroller`, path `<namespace>/node/<name>`, and the name is the line's node.
    private func deletesNode(_ line: Line) -> Bool {
        guard line.equals(line.index.route.operation, "delete"), line.equals(line.index.route.source, "edgecontroller") else {
            return false
        }
        let parts = line.value(line.index.route.resource).split(separator: 0x2f, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[1].elementsEqual("node".utf8) else { return false }
        return parts[2].elementsEqual(line.value(line.index.hub.node))
    }
}
