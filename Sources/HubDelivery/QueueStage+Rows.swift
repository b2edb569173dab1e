// Between the state machine's view of a message and the state file's.

internal import HubMessage
internal import HubPipe
internal import HubQueue
internal import HubStore

extension QueueStage {
    /// Takes over what the state file holds.
    func restore() throws(StoreError) {
        if let aside = store.opening.setAside {
            notify(
                Notice(.error, "state_set_aside", ["state": store.path, "now": aside.path, "reason": aside.reason, "lost": "what it held"]))
        }
        if let version = store.opening.upgradedFrom {
            notify(Notice(.info, "state_upgraded", ["state": store.path, "from": "\(version)", "to": "\(QueueStore.schemaVersion)"]))
        }
        let known = try store.nodes()
        var ids: [[UInt8]: Int64] = [:]
        for node in known { ids[node.name] = node.storeID }
        let recovered = unsafe try store.recover { id, bytes in
            guard let line = try? unsafe Line.scan(bytes), line.isInner else { return nil }
            guard let node = ids[line.value(line.index.hub.node)] else { return nil }
            return row(line, id, node)
        }
        let numbers = try store.nextNumbers()
        machine.restore(nodes: known, nextRow: numbers.row, nextNodeID: numbers.node)
        notify(Notice(.info, "queue_opened", ["nodes": "\(known.count)", "recovered": "\(recovered.moved)", "state": store.path]))
        if recovered.unreadable > 0 { notify(Notice(.error, "rows_unreadable", ["rows": "\(recovered.unreadable)"])) }
    }

    /// Brings rows into memory.
    func load(_ request: LoadRequest) throws(StoreError) {
        var unreadable: [Int64] = []
        do throws(StoreError) {
            let result = unsafe try store.load(
                node: request.storeID, after: request.after, limit: request.limit, bytes: machine.settings.windowBytes
            ) { id, wasSent, bytes in
                guard let line = try? unsafe Line.scan(bytes), line.isInner else {
                    unreadable.append(id)
                    return
                }
                let slot = machine.loaded(
                    node: request.node, id: id, text: MessageText(line), size: bytes.count,
                    isDelete: line.equals(line.index.route.operation, "delete"), wasSent: wasSent)
                unsafe store.loaded(slot, id: id, bytes, splice: QueueStore.splice(line))
            }
            machine.loadEnded(request, through: result.through, isComplete: result.isComplete)
        } catch {
            machine.loadFailed(request)
            throw error
        }
        for id in unreadable {
            notify(Notice(.error, "row_unreadable", ["row": "\(id)"]))
            store.removePending(id)
        }
    }

    func row(_ slot: Int32) -> Row {
        let view = machine.row(of: slot)
        return Row(
            id: view.id, node: view.storeNode, keyHash: view.keyHash, pathHash: view.pathHash, messageHash: view.messageHash,
            isDelete: view.isDelete, text: rowText(view.text))
    }

    func row(_ arrival: Arrival, _ id: Int64, _ node: Int64) -> Row {
        Row(
            id: id, node: node, keyHash: arrival.keyHash, pathHash: arrival.pathHash, messageHash: arrival.messageHash,
            isDelete: arrival.isDelete, text: rowText(arrival.text))
    }

    private func row(_ line: Line, _ id: Int64, _ node: Int64) -> Row {
        let text = MessageText(line)
        return Row(
            id: id, node: node, keyHash: text.keyHash, pathHash: text.pathHash, messageHash: text.messageHash,
            isDelete: line.equals(line.index.route.operation, "delete"), text: rowText(text))
    }

    func rowText(_ text: MessageText) -> RowText {
        RowText(
            bytes: text.bytes, keyEnd: Int(text.keyEnd), versionEnd: Int(text.versionEnd), objectStart: Int(text.messageEnd),
            objectEnd: Int(text.objectEnd))
    }
}

extension QueueStore {
    /// As `keep`, from a scanned line.
    func keep(_ slot: Int32, id: Int64, _ line: Line) { unsafe keep(slot, id: id, line.bytes, splice: Self.splice(line)) }

    func hold(_ slot: Int32, _ line: Line) { unsafe hold(slot, line.bytes, splice: Self.splice(line)) }

    func replace(_ row: Row, _ slot: Int32, _ line: Line) { unsafe replace(row, slot, line.bytes, splice: Self.splice(line)) }

    static func splice(_ line: Line) -> Splice {
        let hub = line.index.hub
        if hub.sessionValue.isPresent {
            return Splice(
                start: Int32(truncatingIfNeeded: hub.sessionValue.start), length: Int32(truncatingIfNeeded: hub.sessionValue.count))
        }
        return Splice(start: Int32(truncatingIfNeeded: hub.inside), length: 0)
    }
}
