// Acknowledgements and refusals (design: hub-queue, rules 3 and 4).

extension QueueMachine {
    /// What an answer of a node was.
    package enum Answer: Equatable, Sendable {
        /// It belongs to a message in memory; the actions follow.
        case taken
        /// Nothing in memory has this id. A row after `rowsAfter` may: the state file is asked, unless that is nil, and what it says
        /// goes to `answerStored` or `answerIsUnknown`.
        case unknown(node: Int32?, messageHash: UInt64, rowsAfter: Int64?)
    }

    private func rowsAfter(_ node: Int32) -> Int64? {
        nodes[Int(node)].hasDiskRows ? nodes[Int(node)].loadedThrough : nil
    }

    private struct Match {
        let slot: Int32
        /// Position in `older`, nil when the id is that of the pending message.
        let older: Int?
    }

    private func match(_ node: Int32, _ hash: UInt64, _ messageID: UnsafeRawBufferPointer) -> Match? {
        var older: Int?
        let slot = byMessage.find(ByteHash.within(node, hash)) { slot in
            let at = Int(slot)
            guard entries[at].node == node else { return false }
            older = nil
            if entries[at].wasSent, entries[at].messageHash == hash, unsafe entries[at].text.hasMessageID(messageID) { return true }
            older = entries[at].older.lastIndex { item in unsafe item.hash == hash && item.messageID.elementsEqual(messageID) }
            return older != nil
        }
        return slot.map { Match(slot: $0, older: older) }
    }

    /// Rule 3: the node acknowledged `messageID`.
    package mutating func acknowledge(node name: UnsafeRawBufferPointer, messageID: UnsafeRawBufferPointer) -> Answer {
        answeredFlight = nil
        let hash = unsafe ByteHash.of(messageID)
        guard let node = unsafe knownNode(name) else { return .unknown(node: nil, messageHash: hash, rowsAfter: nil) }
        guard let match = unsafe match(node, hash, messageID) else {
            return .unknown(node: node, messageHash: hash, rowsAfter: rowsAfter(node))
        }
        let at = Int(match.slot)
        if entries[at].state == .inFlight, entries[at].flightIsOlder == (match.older != nil) {
            answeredFlight = entries[at].due - settings.ackTimeout
        }
        counters.acknowledged += 1
        rememberAnswer(node, hash)
        let slot = match.slot
        if let older = match.older {
            acknowledgeOlder(slot, older)
        } else {
            if entries[Int(slot)].batch < batch, !entries[Int(slot)].isReply {
                settleLater(node, entries[Int(slot)].keyHash, entries[Int(slot)].pathHash)
            }
            actions.append(.acknowledge(slot: slot))
            unlink(slot)
        }
        widen(node)
        return .taken
    }

    /// A superseded version was acknowledged: the row stays, and the newer one follows.
    private mutating func acknowledgeOlder(_ slot: Int32, _ position: Int) {
        let item = endOlder(slot, position)
        if !item.version.isEmpty { actions.append(.raise(slot: slot, version: item.version)) }
    }

    /// The superseded message is answered; if it was the one in flight, the newer one may be sent.
    private mutating func endOlder(_ slot: Int32, _ position: Int) -> Unanswered {
        let at = Int(slot)
        let wasInFlight = entries[at].flightIsOlder && position == entries[at].older.count - 1
        let item = entries[at].older.remove(at: position)
        byMessage.remove(ByteHash.within(entries[at].node, item.hash), slot)
        if wasInFlight {
            endFlight(slot)
            consider(slot)
        }
        return item
    }

    /// Rule 4: the node refused `messageID`.
    package mutating func refuse(node name: UnsafeRawBufferPointer, messageID: UnsafeRawBufferPointer, now: Int64) -> Answer {
        let hash = unsafe ByteHash.of(messageID)
        guard let node = unsafe knownNode(name) else { return .unknown(node: nil, messageHash: hash, rowsAfter: nil) }
        guard let match = unsafe match(node, hash, messageID) else {
            return .unknown(node: node, messageHash: hash, rowsAfter: rowsAfter(node))
        }
        counters.refusedByNode += 1
        let slot = match.slot
        let at = Int(slot)
        if let older = match.older {
            actions.append(.noteError(slot: slot))
            _ = endOlder(slot, older)
        } else if entries[at].isReply {
            counters.repliesRefused += 1
            actions.append(.drop(slot: slot))
            unlink(slot)
        } else {
            actions.append(.noteError(slot: slot))
            if entries[at].state == .inFlight { endFlight(slot) }
            if entries[at].state != .backoff, nodes[Int(node)].isOnline { backOff(slot, now: now) }
        }
        enroll(node)
        considerLoad(node)
        return .taken
    }

    /// The row of an acknowledged message was found on disk and goes, with its key and path.
    package mutating func answerStored(node: Int32, messageHash: UInt64, keyHash: UInt64, pathHash: UInt64) {
        counters.acknowledged += 1
        rememberAnswer(node, messageHash)
        settleLater(node, keyHash, pathHash)
        widen(node)
    }

    /// An acknowledgement opens the window by one.
    private mutating func widen(_ node: Int32) {
        guard nodes[Int(node)].isOnline else { return }
        nodes[Int(node)].window = min(nodes[Int(node)].window + 1, settings.window)
        enroll(node)
        considerLoad(node)
    }

    /// The row of a refused message was found on disk; it stays there.
    package mutating func refusalStored() { counters.refusedByNode += 1 }

    package mutating func answerIsUnknown(node: Int32?, messageHash: UInt64) {
        if let node, isAnswered(node, messageHash) {
            counters.duplicateAcks += 1
        } else {
            counters.unknownAcks += 1
        }
    }

    package mutating func refusalIsUnknown() { counters.unknownRefusals += 1 }

    /// Until the removal is committed, no message of the same key or path may go out: after a crash the old one would follow it.
    mutating func settleLater(_ node: Int32, _ keyHash: UInt64, _ pathHash: UInt64) {
        unsettled.insert(ByteHash.within(node, keyHash))
        unsettled.insert(ByteHash.within(node, pathHash))
    }

    private func answerPlace(_ node: Int32, _ hash: UInt64) -> (Int, UInt64) {
        let mark = ByteHash.within(node, hash)
        return (Int(truncatingIfNeeded: mark & UInt64(answered.count - 1)), mark)
    }

    private mutating func rememberAnswer(_ node: Int32, _ hash: UInt64) {
        let (place, mark) = answerPlace(node, hash)
        answered[place] = mark
    }

    private func isAnswered(_ node: Int32, _ hash: UInt64) -> Bool {
        let (place, mark) = answerPlace(node, hash)
        return answered[place] == mark
    }
}
