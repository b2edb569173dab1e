// From lines to the state machine, and from its actions to rows and lines.

internal import HubMessage
internal import HubPipe
internal import HubQueue
internal import HubStore

extension QueueStage {
    /// Longest part of a refusal's content that is kept.
    private static let longestError = 256

    // MARK: From the cloud

    /// An `ack` line.
    func takeMessage(_ line: Line) throws(StoreError) {
        let arrival = machine.arrival(line)
        perform(nil, 0)
        var stored = StoredKey()
        let node = machine.storeID(of: arrival.node)
        if arrival.needsPending, let found = try store.pending(node: node, keyHash: arrival.keyHash, key: arrival.text.key) {
            stored.pending = StoredKey.Pending(id: found.id, isDelete: found.isDelete, version: found.version)
        }
        if arrival.needsAcknowledged, stored.pending == nil {
            stored.acknowledged = try store.acknowledgedVersion(node: node, keyHash: arrival.keyHash, key: arrival.text.key)
        }
        if let after = arrival.needsPathAfter {
            stored.lastOnPath = try store.lastOnPath(node: node, after: after, pathHash: arrival.pathHash)
        }
        let outcome = machine.take(arrival, stored: stored)
        var rowID: Int64?
        for action in machine.actions {
            switch action {
            case .keep(let slot, let id):
                store.keep(slot, id: id, line)
                rowID = id
            case .hold(let slot): store.hold(slot, line)
            case .replace(let slot):
                store.replace(row(slot), slot, line)
                rowID = machine.rowID(of: slot)
            case .park(let id), .replaceParked(let id):
                unsafe store.park(row(arrival, id, node), line.bytes)
                rowID = id
            case .drop(let slot): store.remove(slot)
            default: break
            }
        }
        machine.settle()
        receipts?.took(line, outcome, row: rowID, node: node)
    }

    func takeOnce(_ line: Line, _ now: Int64) {
        machine.takeOnce(line, now: now)
        perform(line, now)
    }

    // MARK: From the nodes

    func takeFeedback(_ line: Line, _ kind: EnvelopeKind, _ now: Int64) throws(PipeError) -> String? {
        switch kind {
        case .once: takeOnce(line, now)
        case .ack: return "kind ack does not come from a node"
        case .up:
            if line.equals(line.index.route.operation, "response") {
                try takeAcknowledgement(line, now)
            } else if line.equals(line.index.route.operation, "error") {
                try takeRefusal(line, now)
            } else {
                return "neither an acknowledgement nor a refusal"
            }
        case .event: return takeEvent(line, now)
        }
        return nil
    }

    private func takeEvent(_ line: Line, _ now: Int64) -> String? {
        let hub = line.index.hub
        switch line.event {
        case .connected: unsafe line.withValue(hub.node) { name in unsafe machine.connected(name, session: hub.session ?? 0) }
        case .disconnected: unsafe line.withValue(hub.node) { name in unsafe machine.disconnected(name, session: hub.session ?? 0) }
        case .reset: machine.reset()
        case .live: unsafe line.withValue(line.index.header.parentID) { id in unsafe machine.live(answering: id) }
        case .close, .who, nil: return "this event is not for the queue"
        }
        perform(line, now)
        return nil
    }

    private func takeAcknowledgement(_ line: Line, _ now: Int64) throws(PipeError) {
        let answer = unsafe line.withValue(line.index.hub.node) { name in
            unsafe line.withValue(line.index.header.parentID) { id in unsafe machine.acknowledge(node: name, messageID: id) }
        }
        if let sent = machine.answeredFlight { ackLatency.observe(Double(now - sent) / 1e9) }
        perform(line, now)
        guard case .unknown(let node, let hash, let rowsAfter) = answer else { return }
        guard let node, let rowsAfter, let row = try storedRow(line, node, hash, rowsAfter) else {
            return machine.answerIsUnknown(node: node, messageHash: hash)
        }
        store.removePending(row.id)
        let storeNode = machine.storeID(of: node)
        acknowledge(storeNode, row.text.keyHash, row.text, isDelete: row.isDelete)
        machine.answerStored(node: node, messageHash: hash, keyHash: row.text.keyHash, pathHash: row.text.pathHash)
    }

    private func takeRefusal(_ line: Line, _ now: Int64) throws(PipeError) {
        let answer = unsafe line.withValue(line.index.hub.node) { name in
            unsafe line.withValue(line.index.header.parentID) { id in unsafe machine.refuse(node: name, messageID: id, now: now) }
        }
        perform(line, now)
        guard case .unknown(let node, let hash, let rowsAfter) = answer else { return }
        guard let node, let rowsAfter, let row = try storedRow(line, node, hash, rowsAfter) else { return machine.refusalIsUnknown() }
        store.noteError(id: row.id, errorText(line))
        machine.refusalStored()
    }

    private struct StoredRow {
        let id: Int64
        let text: MessageText
        let isDelete: Bool
    }

    /// The row on disk whose id is the one that `line` answers.
    private func storedRow(_ line: Line, _ node: Int32, _ hash: UInt64, _ after: Int64) throws(PipeError) -> StoredRow? {
        var found: StoredRow?
        let messageID = line.value(line.index.header.parentID)
        do throws(StoreError) {
            if store.hasRows { try commit() }
            unsafe try store.withSent(node: machine.storeID(of: node), after: after, messageHash: hash) { id, bytes in
                guard let stored = try? unsafe Line.scan(bytes), stored.value(stored.index.header.messageID) == messageID else {
                    return false
                }
                found = StoredRow(id: id, text: MessageText(stored), isDelete: stored.equals(stored.index.route.operation, "delete"))
                return true
            }
        } catch {
            try endUnlessTemporary(error)
            // The message is sent again later, and acknowledged again.
            notify(Notice(.debug, "lookup_failed", ["reason": error.description]))
        }
        return found
    }

    /// The content of a refusal: a string's value, anything else as it stands.
    private func errorText(_ line: Line) -> [UInt8] {
        let content = line.index.content.value
        guard content.isPresent else { return [] }
        let raw = unsafe [UInt8](line.raw(content).prefix(4 * Self.longestError))
        let isString = raw.first == 0x22 && content.count <= raw.count
        let text =
            isString
            ? unsafe raw.withUnsafeBytes { unsafe JSONText.unescape(UnsafeRawBufferPointer(rebasing: $0[1..<raw.count - 1])) } : raw
        var end = min(text.count, Self.longestError)
        // Not in the middle of a character.
        while end < text.count, end > 0, text[end] & 0xc0 == 0x80 { end -= 1 }
        return [UInt8](text[..<end])
    }

    // MARK: Actions

    /// Carries out what the state machine asked for, except what makes a row of an arriving message.
    func perform(_ line: Line?, _ now: Int64) {
        for action in machine.actions {
            switch action {
            case .createNode(let node): store.createNode(machine.storeID(of: node), machine.name(of: node), time: wallClock())
            case .noteSession(let node):
                store.noteSession(machine.storeID(of: node), machine.session(of: node), time: wallClock())
                tellSession(node)
            case .forgetNode(let storeID):
                store.forgetNode(storeID)
                receipts?.forgotNode(storeID)
            case .close(let session): if let line { close(line, session) }
            case .forward(let session): if let line { forward(line, session) }
            case .acknowledge(let slot): acknowledge(slot)
            case .raise(let slot, let version):
                let view = machine.row(of: slot)
                store.acknowledge(node: view.storeNode, keyHash: view.keyHash, text: rowText(view.text), version: version)
            case .drop(let slot): store.remove(slot)
            case .backOff(let slot): backOff(slot, now)
            case .noteError(let slot): if let line { store.noteError(row(slot), slot, errorText(line)) }
            case .evict(let slot): store.evict(row(slot), slot)
            case .ask: ask()
            case .keep, .hold, .replace, .park, .replaceParked: break
            }
        }
        machine.settle()
    }

    private func acknowledge(_ slot: Int32) {
        let view = machine.row(of: slot)
        store.remove(slot)
        // A reply that deletes says nothing about the key's row.
        acknowledge(view.storeNode, view.keyHash, view.text, isDelete: view.isDelete && !view.isReply)
    }

    private func acknowledge(_ node: Int64, _ keyHash: UInt64, _ text: MessageText, isDelete: Bool) {
        if isDelete {
            store.acknowledge(node: node, keyHash: keyHash, text: rowText(text), version: nil)
        } else if !text.version.isEmpty {
            store.acknowledge(node: node, keyHash: keyHash, text: rowText(text), version: [UInt8](text.version))
        }
    }

    private func backOff(_ slot: Int32, _ now: Int64) {
        let view = machine.row(of: slot)
        let until = view.backoffEnd.map { wallClock() + max(0, $0 - now) / 1000 }
        store.backOff(row(slot), slot, attempts: view.attempts, until: until)
    }

    private func tellSession(_ node: Int32) {
        let name = String(decoding: machine.name(of: node), as: UTF8.self)
        if let session = machine.session(of: node) {
            notify(Notice(.debug, "online", ["node": name, "session": "\(session)"]))
        } else {
            notify(Notice(.debug, "offline", ["node": name]))
        }
    }

    // MARK: Output

    private func forward(_ line: Line, _ session: Int64) {
        guard output.pending < settings.overfullAt else { return machine.onceWasDropped() }
        line.appendWithSession(session, to: &output.buffer)
    }

    private func close(_ line: Line, _ session: Int64?) {
        let node = line.string(line.index.hub.node)
        notify(Notice(.info, "node_forgotten", ["node": node]))
        EventLine(.close, node: node, session: session, reason: "node deleted", time: wallClock()).append(to: &output.buffer)
    }

    private func ask() {
        let id = MessageID.random()
        machine.asked([UInt8](id.utf8))
        EventLine(.who, messageID: id, time: wallClock()).append(to: &output.buffer)
    }

    /// Sends what may go, as long as the output takes it.
    func send(_ now: Int64) throws(PipeError) {
        while output.pending < settings.fullAt, let sending = machine.nextSending(now: now) {
            do throws(StoreError) {
                let isThere = unsafe try store.withLine(sending.slot) { line, splice in unsafe append(line, splice, sending.session) }
                if isThere {
                    store.wasSent(sending.slot, node: machine.storeID(of: sending.node))
                    continue
                }
            } catch {
                try endUnlessTemporary(error)
                notify(Notice(.debug, "read_failed", ["reason": error.description]))
            }
            machine.sendingFailed(sending.slot, now: now)
            perform(nil, now)
        }
    }

    private func append(_ line: UnsafeRawBufferPointer, _ splice: Splice, _ session: Int64) {
        let start = Int(splice.start)
        unsafe output.buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: line[..<start]))
        if splice.length == 0 { output.buffer.append("\"session\":") }
        output.buffer.append(decimal: session)
        if splice.length == 0 { output.buffer.append(0x2c) }
        unsafe output.buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: line[(start + Int(splice.length))...]))
        output.buffer.append(0x0a)
    }
}
