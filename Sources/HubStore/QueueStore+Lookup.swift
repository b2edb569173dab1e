// What the file and the next commit know, together.

extension QueueStore {
    /// Lookups between two commits share one transaction, which costs less than one each.
    func beginReading() throws(StoreError) {
        if connection.isIdle { try connection.run("BEGIN") }
    }

    /// Ends that transaction, so that the log can be written back.
    package func endReading() {
        if !connection.isIdle { connection.rollBack() }
    }

    /// A pending row of the key that nothing in memory stands for.
    package func pending(node: Int64, keyHash: UInt64, key: ArraySlice<UInt8>) throws(StoreError) -> (
        id: Int64, isDelete: Bool, version: [UInt8]
    )? {
        let position = parks.find(Overlay<Park>.hash(node, keyHash)) {
            $0.row.node == node && $0.row.text.key == key && !removedPending.contains($0.row.id)
        }
        if let position {
            let row = parks.items[position].row
            return (row.id, row.isDelete, [UInt8](row.text.version))
        }
        let move = moves.find(Overlay<Row>.hash(node, keyHash)) {
            $0.node == node && $0.text.key == key && !removedPending.contains($0.id)
        }
        if let move {
            let row = moves.items[move]
            return (row.id, row.isDelete, [UInt8](row.text.version))
        }
        try beginReading()
        statements[.findKey].bind(1, node)
        statements[.findKey].bind(2, hash: keyHash)
        defer { statements[.findKey].reset() }
        while try statements[.findKey].step() {
            let id = statements[.findKey].integer(0)
            guard unsafe statements[.findKey].bytes(3).elementsEqual(key), !removedPending.contains(id) else { continue }
            return (id, statements[.findKey].integer(1) != 0, unsafe [UInt8](statements[.findKey].bytes(2)))
        }
        return nil
    }

    /// The version of the key that the node acknowledged; nil when there is none.
    package func acknowledgedVersion(node: Int64, keyHash: UInt64, key: ArraySlice<UInt8>) throws(StoreError) -> [UInt8]? {
        let position = acknowledgements.find(Overlay<Acknowledgement>.hash(node, keyHash)) { $0.node == node && $0.text.key == key }
        if let position {
            let item = acknowledgements.items[position]
            if item.resets { return item.version }
            // The file's version may be higher than one that was acknowledged late.
            guard let stored = try storedVersion(node, key), let version = item.version else { return item.version }
            return Version.isHigher(version[...], than: stored[...]) ? version : stored
        }
        return try storedVersion(node, key)
    }

    private func storedVersion(_ node: Int64, _ key: ArraySlice<UInt8>) throws(StoreError) -> [UInt8]? {
        try beginReading()
        statements[.version].bind(1, node)
        let result = unsafe key.withUnsafeBytes { bytes -> Int32 in
            unsafe statements[.version].bind(2, text: bytes)
            return statements[.version].stepResult()
        }
        defer { statements[.version].reset() }
        guard try statements[.version].outcome(result) else { return nil }
        return unsafe [UInt8](statements[.version].bytes(0))
    }

    /// The last row after `after` whose path has this hash; 0 when there is none.
    package func lastOnPath(node: Int64, after: Int64, pathHash: UInt64) throws(StoreError) -> Int64 {
        try beginReading()
        statements[.lastOnPath].bind(1, node)
        statements[.lastOnPath].bind(2, after)
        statements[.lastOnPath].bind(3, hash: pathHash)
        defer { statements[.lastOnPath].reset() }
        var last: Int64 = try statements[.lastOnPath].step() ? statements[.lastOnPath].integer(0) : 0
        for park in parks.items where park.row.node == node && park.row.pathHash == pathHash && park.row.id > after {
            last = max(last, park.row.id)
        }
        for row in moves.items where row.node == node && row.pathHash == pathHash && row.id > after { last = max(last, row.id) }
        return last
    }

    /// Calls `body` with each row of `pending` after `after` that was sent and whose message id has this hash, until it returns true.
    /// Everything must have been committed before.
    package func withSent(
        node: Int64, after: Int64, messageHash: UInt64, _ body: (_ id: Int64, _ line: UnsafeRawBufferPointer) -> Bool
    ) throws(StoreError) {
        let last = lastSent(node)
        guard last > after else { return }
        try beginReading()
        statements[.findSent].bind(1, node)
        statements[.findSent].bind(2, hash: messageHash)
        statements[.findSent].bind(3, after)
        statements[.findSent].bind(4, last)
        defer { statements[.findSent].reset() }
        while try statements[.findSent].step() {
            let id = statements[.findSent].integer(0)
            if !removedPending.contains(id), unsafe body(id, statements[.findSent].bytes(1)) { return }
        }
    }

    /// Calls `body` with rows of a node after `after`, in order. Everything must have been committed before.
    /// - Parameter bytes: at most this much, but one row at least.
    /// - Returns: the last row, and whether there are no further ones.
    package func load(
        node: Int64, after: Int64, limit: Int, bytes: Int, _ body: (_ id: Int64, _ wasSent: Bool, _ line: UnsafeRawBufferPointer) -> Void
    ) throws(StoreError) -> (through: Int64, isComplete: Bool) {
        try beginReading()
        statements[.load].bind(1, node)
        statements[.load].bind(2, after)
        statements[.load].bind(3, Int64(limit))
        defer { statements[.load].reset() }
        var through = after
        var left = bytes
        var count = 0
        while try statements[.load].step() {
            let line = unsafe statements[.load].bytes(1)
            if count > 0, line.count > left { return (through, false) }
            left -= line.count
            count += 1
            through = statements[.load].integer(0)
            unsafe body(through, through <= lastSent(node), line)
        }
        return (through, count < limit)
    }

    /// Committed rows, by looking at all of them.
    package func countRows() throws(StoreError) -> Int {
        Int(try connection.number("SELECT (SELECT count(*) FROM recent) + (SELECT count(*) FROM pending)"))
    }

    // MARK: Start

    /// The nodes that are not forgotten.
    package func nodes() throws(StoreError) -> [(storeID: Int64, name: [UInt8])] {
        var result: [(storeID: Int64, name: [UInt8])] = []
        let statement = try connection.prepare("SELECT id, name FROM nodes WHERE forgotten = 0")
        while try statement.step() { result.append(unsafe (statement.integer(0), [UInt8](statement.bytes(1)))) }
        statement.reset()
        return result
    }

    /// Numbers larger than those of all rows and of all nodes.
    package func nextNumbers() throws(StoreError) -> (row: Int64, node: Int64) {
        // A number that was used for a message that was sent is not used again: its acknowledgement would be taken for a real one.
        let row = try connection.number(
            """
            SELECT max(coalesce((SELECT max(id) FROM recent), 0), coalesce((SELECT max(id) FROM pending), 0),
              coalesce((SELECT max(sent_through) FROM nodes), 0))
            """)
        return (row + 1, try connection.number("SELECT coalesce(max(id), 0) FROM nodes") + 1)
    }

    /// Moves what a process that did not end in order left in `recent` to `pending`.
    /// - Parameter columns: reads a row's columns from its line; nil for a line that it cannot read, whose row then goes.
    /// - Returns: rows moved, and rows that could not be read.
    package func recover(_ columns: (_ id: Int64, _ line: UnsafeRawBufferPointer) -> Row?) throws(StoreError) -> (
        moved: Int, unreadable: Int
    ) {
        var moved = 0
        var unreadable = 0
        let rows = try connection.prepare("SELECT id, line FROM recent ORDER BY id LIMIT 1000")
        while true {
            var found: [(id: Int64, row: Row?)] = []
            while try rows.step() {
                let id = rows.integer(0)
                found.append(unsafe (id, columns(id, rows.bytes(1))))
            }
            rows.reset()
            guard !found.isEmpty else { return (moved, unreadable) }
            try connection.run("BEGIN IMMEDIATE")
            do throws(StoreError) {
                for (id, row) in found {
                    guard let row else {
                        unreadable += 1
                        try delete(statements[.deleteRecent], id)
                        continue
                    }
                    moved += 1
                    // The process before this one has probably sent it.
                    noteSent(row.node, row.id)
                    try move(row)
                }
                try writeSent()
                try connection.run("COMMIT")
            } catch {
                connection.rollBack()
                throw error
            }
        }
    }
}
