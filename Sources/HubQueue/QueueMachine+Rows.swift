// Rows between disk and memory (design: hub-queue, rule 8: a message whose node is offline occupies disk, not memory).

extension QueueMachine {
    /// Asks for rows of an online node that runs out of messages in memory.
    mutating func considerLoad(_ node: Int32) {
        let number = Int(node)
        guard nodes[number].hasDiskRows, nodes[number].isOnline, !nodes[number].isInLoads, wants(number) > 0 else { return }
        nodes[number].isInLoads = true
        loads.append(node)
    }

    private func wants(_ number: Int) -> Int {
        let node = nodes[number]
        // What waits for time, for another message or for a row must not keep out what could be sent.
        let active = max(0, node.count - node.backingOff - node.behind - node.held)
        guard active < settings.window else { return 0 }
        let room = heldPerNode - (node.count - node.replies)
        return min(2 * settings.window - active, mayHold ? room : min(room, 4 - active))
    }

    /// The next rows that are wanted in memory; nil when none are. Everything must have been committed before.
    package mutating func nextLoad() -> LoadRequest? {
        while let node = loads.popFirst() {
            let number = Int(node)
            nodes[number].isInLoads = false
            guard nodes[number].hasDiskRows, nodes[number].isOnline else { continue }
            let limit = wants(number)
            guard limit > 0 else { continue }
            return LoadRequest(node: node, storeID: nodes[number].storeID, after: nodes[number].loadedThrough, limit: limit)
        }
        return nil
    }

    package var wantsLoads: Bool { !loads.isEmpty }

    /// A row of `node` comes into memory.
    /// - Parameter size: bytes of its line.
    /// - Returns: its slot; the caller keeps the line there.
    package mutating func loaded(node: Int32, id: Int64, text: MessageText, size: Int, isDelete: Bool, wasSent: Bool) -> Int32 {
        var entry = Entry()
        entry.id = id
        entry.text = text
        entry.keyHash = text.keyHash
        entry.pathHash = text.pathHash
        entry.messageHash = text.messageHash
        entry.size = Int32(truncatingIfNeeded: size)
        entry.node = node
        entry.isDelete = isDelete
        entry.wasSent = wasSent
        entry.state = .waiting
        nodes[Int(node)].loadedThrough = id
        let slot = link(entry)
        consider(slot)
        return slot
    }

    /// The rows of a request are in memory.
    /// - Parameter through: the last row looked at.
    /// - Parameter isComplete: there are no further rows.
    package mutating func loadEnded(_ request: LoadRequest, through: Int64, isComplete: Bool) {
        let number = Int(request.node)
        nodes[number].loadedThrough = max(nodes[number].loadedThrough, through)
        if isComplete { nodes[number].hasDiskRows = false }
        if nodes[number].replies > 0 {
            var slot = nodes[number].first
            while slot >= 0 {
                if entries[Int(slot)].isReply { reconsider(slot) }
                slot = entries[Int(slot)].nextOfNode
            }
        }
        considerLoad(request.node)
    }

    /// A reply that waits for rows may wait no longer.
    private mutating func reconsider(_ slot: Int32) {
        let at = Int(slot)
        let number = Int(entries[at].node)
        if entries[at].isHeld, !nodes[number].hasDiskRows || entries[at].holdUntil <= nodes[number].loadedThrough {
            entries[at].isHeld = false
            nodes[number].held -= 1
        }
        consider(slot)
    }

    /// The rows could not be read; they are asked for again.
    package mutating func loadFailed(_ request: LoadRequest) { considerLoad(request.node) }

    /// Lets up to `limit` messages of offline nodes leave memory, the newest of a node first.
    package mutating func parkSome(_ limit: Int) {
        var left = limit
        while left > 0, let node = parking.popFirst() {
            let number = Int(node)
            nodes[number].isParking = false
            guard !nodes[number].isOnline else { continue }
            while left > 0, nodes[number].last >= 0 {
                let slot = nodes[number].last
                nodes[number].hasDiskRows = true
                nodes[number].loadedThrough = entries[Int(slot)].id - 1
                actions.append(.evict(slot: slot))
                unlink(slot)
                left -= 1
            }
            if nodes[number].last >= 0 {
                nodes[number].isParking = true
                parking.append(node)
            }
        }
    }

    package var wantsParking: Bool { !parking.isEmpty }
}
