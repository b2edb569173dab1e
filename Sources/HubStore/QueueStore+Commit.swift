// Group commit: everything that waits, in one transaction.

extension QueueStore {
    /// Writes what waits and makes it durable.
    /// - Throws: `StoreError`; the file is unchanged then, and everything still waits.
    package func commit() throws(StoreError) {
        guard hasWork else { return endReading() }
        do throws(StoreError) {
            if connection.isIdle { try connection.run("BEGIN IMMEDIATE") }
            try writeRows()
            try writeAcknowledgements()
            try connection.run("COMMIT")
        } catch {
            connection.rollBack()
            throw error
        }
        checkpointIfLong()
        batchIsOnDisk()
    }

    /// Has a long log written back. The log can only begin anew when nobody reads it and it is written back whole; under load there
    /// is no such moment but this one, so a very long log is finished here, after the thread has done most of it.
    private func checkpointIfLong() {
        let pages = logSize.current
        if pages < pagesAtWake { pagesAtWake = 0 }
        guard pages - pagesAtWake > Self.longLog else { return }
        pagesAtWake = pages
        checkpointer.wake()
        // A failure here is no loss: the log holds everything, and the next commit tries again.
        if pages > Self.veryLongLog { _ = try? connection.checkpoint() }
    }

    /// Pages of 4 KiB.
    private static let longLog = 2_000
    private static let veryLongLog = 8_000

    private func writeRows() throws(StoreError) {
        for node in newNodes {
            let result = unsafe node.name.withUnsafeBytes { name -> Int32 in
                statements[.insertNode].bind(1, node.id)
                unsafe statements[.insertNode].bind(2, text: name)
                statements[.insertNode].bind(3, node.time)
                return statements[.insertNode].stepResult()
            }
            _ = try statements[.insertNode].outcome(result)
            statements[.insertNode].reset()
        }
        // A slot that has since ended, or means another row, has nothing to write.
        for keep in keeps where lines[Int(keep.slot)].id == keep.id { try write(statements[.insertRecent], keep) }
        for rewrite in rewrites where lines[Int(rewrite.slot)].id == rewrite.id { try write(statements[.rewriteRecent], rewrite) }
        for row in moves.items { try move(row) }
        for park in parks.items { try write(park) }
        try writeSent()
        for item in backoffs {
            statements[.noteBackoff].bind(1, item.id)
            statements[.noteBackoff].bind(2, Int64(item.attempts))
            if let until = item.until { statements[.noteBackoff].bind(3, until) } else { statements[.noteBackoff].bindNull(3) }
            try statements[.noteBackoff].run()
        }
        for item in errors {
            let result = unsafe item.text.withUnsafeBytes { text -> Int32 in
                statements[.noteError].bind(1, item.id)
                unsafe statements[.noteError].bind(2, text: text)
                return statements[.noteError].stepResult()
            }
            _ = try statements[.noteError].outcome(result)
            statements[.noteError].reset()
        }
        for item in sessions {
            statements[.noteSession].bind(1, item.node)
            if let session = item.session { statements[.noteSession].bind(2, session) } else { statements[.noteSession].bindNull(2) }
            statements[.noteSession].bind(3, item.time)
            try statements[.noteSession].run()
        }
    }

    /// Which rows were sent, one number per node.
    func writeSent() throws(StoreError) {
        for (node, id) in newlySent {
            statements[.noteSent].bind(1, node)
            statements[.noteSent].bind(2, id)
            try statements[.noteSent].run()
        }
    }

    private func write(_ statement: borrowing Statement, _ item: (slot: Int32, id: Int64)) throws(StoreError) {
        statement.bind(1, item.id)
        let result = unsafe lines[Int(item.slot)].bytes.withUnsafeBytes { bytes -> Int32 in
            unsafe statement.bind(2, blob: bytes)
            return statement.stepResult()
        }
        _ = try statement.outcome(result)
        statement.reset()
    }

    private func write(_ park: Park) throws(StoreError) {
        let result = unsafe park.line.withUnsafeBytes { line -> Int32 in
            unsafe statements[.insertPending].bind(9, blob: line)
            return bindAndStep(park.row, statements[.insertPending])
        }
        _ = try statements[.insertPending].outcome(result)
        statements[.insertPending].reset()
    }

    /// Moves a row from `recent` to `pending`.
    func move(_ row: Row) throws(StoreError) {
        _ = try statements[.moveRecent].outcome(bindAndStep(row, statements[.moveRecent]))
        statements[.moveRecent].reset()
        try delete(statements[.deleteRecent], row.id)
    }

    private func bindAndStep(_ row: Row, _ statement: borrowing Statement) -> Int32 {
        statement.bind(1, row.id)
        statement.bind(2, row.node)
        statement.bind(3, hash: row.keyHash)
        statement.bind(4, hash: row.pathHash)
        statement.bind(5, hash: row.messageHash)
        statement.bind(6, row.isDelete ? 1 : 0)
        return unsafe row.text.bytes.withUnsafeBytes { bytes -> Int32 in
            unsafe statement.bind(7, text: UnsafeRawBufferPointer(rebasing: bytes[..<row.text.keyEnd]))
            unsafe statement.bind(8, text: UnsafeRawBufferPointer(rebasing: bytes[row.text.keyEnd..<row.text.versionEnd]))
            return statement.stepResult()
        }
    }

    /// Runs a statement whose one parameter is a row's number.
    func delete(_ statement: borrowing Statement, _ id: Int64) throws(StoreError) {
        statement.bind(1, id)
        try statement.run()
    }

    private func writeAcknowledgements() throws(StoreError) {
        for item in acknowledgements.items {
            if item.resets { try write(item, statements[.forgetKey], version: []) }
            if let version = item.version { try write(item, statements[.acknowledge], version: version) }
        }
        for id in removedRecent { try delete(statements[.deleteRecent], id) }
        for id in removedPending { try delete(statements[.deletePending], id) }
        for id in forgottenNodes { try delete(statements[.forgetNode], id) }
    }

    private func write(_ item: Acknowledgement, _ statement: borrowing Statement, version: [UInt8]) throws(StoreError) {
        statement.bind(1, item.node)
        let text = item.text
        let result = unsafe text.bytes.withUnsafeBytes { bytes -> Int32 in
            unsafe statement.bind(2, text: UnsafeRawBufferPointer(rebasing: bytes[..<text.keyEnd]))
            guard !version.isEmpty else { return statement.stepResult() }
            unsafe statement.bind(4, text: UnsafeRawBufferPointer(rebasing: bytes[text.objectStart..<text.objectEnd]))
            return unsafe version.withUnsafeBytes { digits -> Int32 in
                unsafe statement.bind(3, text: digits)
                return statement.stepResult()
            }
        }
        _ = try statement.outcome(result)
        statement.reset()
    }

    // MARK: Forgotten nodes

    /// Rows of forgotten nodes still lie in the file.
    package var wantsPurge: Bool { !purges.isEmpty }

    /// Deletes some rows of a forgotten node, few enough to be quick. Everything must have been committed before.
    package func purgeSome(_ limit: Int = 500) throws(StoreError) {
        guard let node = purges.first else { return }
        endReading()
        do throws(StoreError) {
            try connection.run("BEGIN IMMEDIATE")
            var deleted = try purge(statements[.purgePending], node, limit)
            deleted += try purge(statements[.purgeAcknowledged], node, limit)
            if deleted == 0 { try delete(statements[.purgeNode], node) }
            try connection.run("COMMIT")
            if deleted == 0 { purges.removeFirst() }
        } catch {
            connection.rollBack()
            throw error
        }
    }

    private func purge(_ statement: borrowing Statement, _ node: Int64, _ limit: Int) throws(StoreError) -> Int64 {
        statement.bind(1, node)
        statement.bind(2, Int64(limit))
        try statement.run()
        return connection.changes
    }
}
