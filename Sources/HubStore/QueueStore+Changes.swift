// What the state machine's actions change; the next commit writes it.

extension QueueStore {
    // MARK: Rows without slot

    /// A message that nothing in memory stands for, new or in the place of an older one.
    package func park(_ row: Row, _ line: UnsafeRawBufferPointer) {
        countUncommitted(line.count)
        park(row, unsafe [UInt8](line))
    }

    func park(_ row: Row, _ line: [UInt8]) {
        let park = Park(row: row, line: line)
        let hash = Overlay<Park>.hash(row.node, row.keyHash)
        if let position = parks.find(hash, where: { $0.row.id == row.id }) {
            parks.change(position) { $0 = park }
        } else {
            parks.append(hash, park)
        }
    }

    /// The slot's message leaves memory; its row goes to `pending`.
    package func evict(_ row: Row, _ slot: Int32) {
        let at = Int(slot)
        defer { forget(at) }
        if lines[at].isIndexed, lines[at].isOnDisk { return }
        if lines[at].wasSent { noteSent(row.node, row.id) }
        if lines[at].isOnDisk, !lines[at].isNewer { return willMove(row) }
        park(row, lines[at].bytes)
        if lines[at].isOnDisk { removedRecent.append(row.id) }
    }

    // MARK: Trouble

    /// The key backs off; its row goes to `pending`, where `list` shows it.
    package func backOff(_ row: Row, _ slot: Int32, attempts: Int, until: Int64?) {
        makeIndexed(row, slot)
        backoffs.append((row.id, attempts, until))
    }

    /// The key's last error.
    package func noteError(_ row: Row, _ slot: Int32, _ text: [UInt8]) {
        makeIndexed(row, slot)
        errors.append((row.id, text))
    }

    package func noteError(id: Int64, _ text: [UInt8]) { errors.append((id, text)) }

    private func makeIndexed(_ row: Row, _ slot: Int32) {
        let at = Int(slot)
        guard lines[at].isRow, !lines[at].isIndexed else { return }
        lines[at].isIndexed = true
        if lines[at].wasSent { noteSent(row.node, row.id) }
        willMove(row)
    }

    private func willMove(_ row: Row) { moves.append(Overlay<Row>.hash(row.node, row.keyHash), row) }

    // MARK: Acknowledgements

    /// The slot's message ends; its row goes.
    package func remove(_ slot: Int32) {
        let at = Int(slot)
        if lines[at].isIndexed {
            // The next commit may be the one that writes it.
            removedPending.insert(lines[at].id)
        } else if lines[at].isOnDisk {
            removedRecent.append(lines[at].id)
        }
        forget(at)
    }

    /// A row of `pending` without slot goes.
    package func removePending(_ id: Int64) { removedPending.insert(id) }

    /// The node has at least `version` of the key, or, when that is nil, what it had is forgotten.
    package func acknowledge(node: Int64, keyHash: UInt64, text: RowText, version: [UInt8]?) {
        let hash = Overlay<Acknowledgement>.hash(node, keyHash)
        let found = acknowledgements.find(hash) { $0.node == node && $0.text.key == text.key }
        guard let found else {
            acknowledgements.append(hash, Acknowledgement(node: node, text: text, version: version, resets: version == nil))
            return
        }
        acknowledgements.change(found) { item in
            if let version {
                guard let old = item.version else {
                    item.version = version
                    item.text = text
                    return
                }
                if Version.isHigher(version[...], than: old[...]) {
                    item.version = version
                    item.text = text
                }
            } else {
                item.version = nil
                item.resets = true
            }
        }
    }

    // MARK: Nodes

    package func createNode(_ id: Int64, _ name: [UInt8], time: Int64) { newNodes.append((id, name, time)) }

    package func noteSession(_ node: Int64, _ session: Int64?, time: Int64) { sessions.append((node, session, time)) }

    package func forgetNode(_ id: Int64) {
        forgottenNodes.append(id)
        sentThrough[id] = nil
    }
}
