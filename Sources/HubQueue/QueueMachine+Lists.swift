// The lists that an entry stands in: its node's, its path's, and that of all in flight.

extension QueueMachine {
    // MARK: Of the node, by id

    mutating func linkToNode(_ slot: Int32) {
        let at = Int(slot)
        let number = Int(entries[at].node)
        var before = nodes[number].last
        // Rows that are loaded late go before replies that came meanwhile.
        while before >= 0, entries[Int(before)].id > entries[at].id { before = entries[Int(before)].previousOfNode }
        let after = before >= 0 ? entries[Int(before)].nextOfNode : nodes[number].first
        entries[at].previousOfNode = before
        entries[at].nextOfNode = after
        if before >= 0 { entries[Int(before)].nextOfNode = slot } else { nodes[number].first = slot }
        if after >= 0 { entries[Int(after)].previousOfNode = slot } else { nodes[number].last = slot }
        nodes[number].count += 1
        if entries[at].isReply { nodes[number].replies += 1 }
    }

    mutating func unlinkFromNode(_ slot: Int32) {
        let at = Int(slot)
        let number = Int(entries[at].node)
        let before = entries[at].previousOfNode
        let after = entries[at].nextOfNode
        if before >= 0 { entries[Int(before)].nextOfNode = after } else { nodes[number].first = after }
        if after >= 0 { entries[Int(after)].previousOfNode = before } else { nodes[number].last = before }
        nodes[number].count -= 1
        if entries[at].isReply { nodes[number].replies -= 1 }
        if entries[at].isHeld { nodes[number].held -= 1 }
    }

    // MARK: Of the path, by id; the table holds the last one

    mutating func linkToPath(_ slot: Int32) {
        let at = Int(slot)
        let hash = ByteHash.within(entries[at].node, entries[at].pathHash)
        let last = byPath.find(hash) { other in
            entries[Int(other)].node == entries[at].node && entries[Int(other)].text.hasSamePath(as: entries[at].text)
        }
        guard let last else {
            entries[at].previousOnPath = -1
            entries[at].nextOnPath = -1
            byPath.insert(hash, slot)
            return
        }
        var before = last
        while before >= 0, entries[Int(before)].id > entries[at].id { before = entries[Int(before)].previousOnPath }
        if before == last {
            byPath.change(hash, from: last, to: slot)
            entries[at].nextOnPath = -1
        } else {
            var after = last
            while entries[Int(after)].previousOnPath != before { after = entries[Int(after)].previousOnPath }
            entries[at].nextOnPath = after
            entries[Int(after)].previousOnPath = slot
        }
        entries[at].previousOnPath = before
        if before >= 0 { entries[Int(before)].nextOnPath = slot }
        nodes[Int(entries[at].node)].behind += 1
        // Another one was the first, and is not any more.
        let second = Int(entries[at].nextOnPath)
        if before < 0, entries[second].state == .ready { entries[second].state = .waiting }
    }

    /// - Returns: the entry that is now the first of the path because of this, or nil.
    mutating func unlinkFromPath(_ slot: Int32) -> Int32? {
        let at = Int(slot)
        let hash = ByteHash.within(entries[at].node, entries[at].pathHash)
        let before = entries[at].previousOnPath
        let after = entries[at].nextOnPath
        if before >= 0 || after >= 0 { nodes[Int(entries[at].node)].behind -= 1 }
        if after >= 0 {
            entries[Int(after)].previousOnPath = before
        } else if before >= 0 {
            byPath.change(hash, from: slot, to: before)
        } else {
            byPath.remove(hash, slot)
        }
        if before >= 0 { entries[Int(before)].nextOnPath = after }
        entries[at].previousOnPath = -1
        entries[at].nextOnPath = -1
        return before < 0 && after >= 0 ? after : nil
    }

    // MARK: In flight, by deadline

    mutating func startFlight(_ slot: Int32, due: Int64) {
        let at = Int(slot)
        let number = Int(entries[at].node)
        entries[at].state = .inFlight
        entries[at].due = due
        entries[at].flightSize = entries[at].size
        entries[at].previousInFlight = lastInFlight
        entries[at].nextInFlight = -1
        if lastInFlight >= 0 { entries[Int(lastInFlight)].nextInFlight = slot } else { firstInFlight = slot }
        lastInFlight = slot
        nodes[number].flights += 1
        nodes[number].flightBytes += Int(entries[at].flightSize)
    }

    /// Takes `slot` out of the flight; it is waiting then.
    mutating func endFlight(_ slot: Int32) {
        let at = Int(slot)
        let number = Int(entries[at].node)
        let before = entries[at].previousInFlight
        let after = entries[at].nextInFlight
        if before >= 0 { entries[Int(before)].nextInFlight = after } else { firstInFlight = after }
        if after >= 0 { entries[Int(after)].previousInFlight = before } else { lastInFlight = before }
        entries[at].previousInFlight = -1
        entries[at].nextInFlight = -1
        entries[at].state = .waiting
        entries[at].flightIsOlder = false
        nodes[number].flights -= 1
        nodes[number].flightBytes -= Int(entries[at].flightSize)
    }

    // MARK: Ids

    func byMessageHash(_ slot: Int32) -> UInt64 {
        ByteHash.within(entries[Int(slot)].node, entries[Int(slot)].messageHash)
    }

    /// Forgets the superseded messages of `slot`.
    mutating func forgetOlder(_ slot: Int32) {
        let at = Int(slot)
        guard !entries[at].older.isEmpty else { return }
        for item in entries[at].older { byMessage.remove(ByteHash.within(entries[at].node, item.hash), slot) }
        entries[at].older = []
    }

    // MARK: All of them

    /// Puts a new entry into every list and table.
    mutating func link(_ entry: Entry) -> Int32 {
        let slot = newEntry(entry)
        linkToNode(slot)
        linkToPath(slot)
        if !entry.isReply { byKey.insert(ByteHash.within(entry.node, entry.keyHash), slot) }
        byMessage.insert(byMessageHash(slot), slot)
        return slot
    }

    /// Takes an entry out of every list and table. The next one of its path may then be sent.
    mutating func unlink(_ slot: Int32) {
        let at = Int(slot)
        if entries[at].state == .inFlight { endFlight(slot) }
        if entries[at].state == .backoff { nodes[Int(entries[at].node)].backingOff -= 1 }
        if !entries[at].isReply { byKey.remove(ByteHash.within(entries[at].node, entries[at].keyHash), slot) }
        byMessage.remove(byMessageHash(slot), slot)
        forgetOlder(slot)
        unlinkFromNode(slot)
        if let next = unlinkFromPath(slot) { consider(next) }
        retire(slot)
    }
}
