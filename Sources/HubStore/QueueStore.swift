// The queue's state file, and what the next commit will write to it (design: hub-queue, rule 8).
//
// Calls change memory only; `commit` writes everything in one transaction. When that fails, nothing of it is lost: it stays in memory
// for the next try, and lookups go on seeing it. A row that is acknowledged before it was ever written is never written.

package final class QueueStore {
    let connection: Connection
    let statements: Statements
    package let path: String
    package let opening: Opening
    private let lock: FileLock
    let logSize = LogSize()
    let checkpointer: Checkpointer
    /// Pages in the log when it was last had written back.
    var pagesAtWake = 0

    /// By slot of the state machine.
    var lines: [HeldLine] = []
    /// Bytes of lines in memory.
    package internal(set) var memory = 0
    /// Bytes of lines that may stay in memory unsent although they are on disk.
    private let retainedMemory: Int

    // The next commit, in the order in which it is applied: rows first.
    var newNodes: [(id: Int64, name: [UInt8], time: Int64)] = []
    var keeps: [(slot: Int32, id: Int64)] = []
    var rewrites: [(slot: Int32, id: Int64)] = []
    /// Rows that go from `recent` to `pending`.
    var moves = Overlay<Row>()
    var parks = Overlay<Park>()
    var newlySent: [Int64: Int64] = [:]
    var backoffs: [(id: Int64, attempts: Int, until: Int64?)] = []
    var errors: [(id: Int64, text: [UInt8])] = []
    var sessions: [(node: Int64, session: Int64?, time: Int64)] = []
    // Then acknowledgements.
    var acknowledgements = Overlay<Acknowledgement>()
    var removedRecent: [Int64] = []
    var removedPending: Set<Int64> = []
    var forgottenNodes: [Int64] = []
    /// By node, the last row in `pending` that was sent. Of the rows up to it, an acknowledgement can be real.
    var sentThrough: [Int64: Int64]
    /// Numbers of forgotten nodes that may still have rows.
    var purges: [Int64]

    package private(set) var commits = 0
    package private(set) var uncommittedBytes = 0

    private init(
        _ connection: consuming Connection, _ statements: consuming Statements, _ lock: consuming FileLock, _ opening: Opening,
        retained: Int, purges: [Int64], sentThrough: [Int64: Int64]
    ) {
        path = connection.path
        checkpointer = Checkpointer(path)
        self.connection = connection
        self.statements = statements
        self.lock = lock
        self.opening = opening
        retainedMemory = retained
        self.purges = purges
        self.sentThrough = sentThrough
        logSize.watch(self.connection)
    }

    /// The version of the file's layout that this program writes.
    package static var schemaVersion: Int64 { Schema.version }

    /// What opening found that an operator should know.
    package struct Opening: Sendable {
        /// The schema version of the file before it was upgraded; nil when there was nothing to upgrade.
        package var upgradedFrom: Int64?
        /// Where a damaged file lies now, and what was wrong with it.
        package var setAside: (path: String, reason: String)?
    }

    /// Opens or makes the state file, and takes it for this process. A file of an older version is upgraded, in one transaction.
    /// - Parameter retainedMemory: bytes of lines that may stay in memory unsent although they are on disk.
    /// - Parameter setsDamagedAside: a damaged file gets another name, and an empty one takes its place. Then the whole file is looked at,
    ///   which takes a second per gigabyte. Another program's database and a newer version's file are refused all the same.
    /// - Parameter extendsLog: the log is made long beforehand, which takes a moment and makes commits quicker.
    package static func open(
        _ path: String, retainedMemory: Int = 64 << 20, setsDamagedAside: Bool = false, extendsLog: Bool = true
    ) throws(StoreError) -> QueueStore {
        let lock = try FileLock.take(path)
        var opening = Opening()
        let connection = try connect(path, setsDamagedAside: setsDamagedAside, &opening)
        if extendsLog { LogFile.extend(path) }
        let statements = try Statements(connection)
        var purges: [Int64] = []
        let forgotten = try connection.prepare("SELECT id FROM nodes WHERE forgotten")
        while try forgotten.step() { purges.append(forgotten.integer(0)) }
        forgotten.reset()
        var sentThrough: [Int64: Int64] = [:]
        let sent = try connection.prepare("SELECT id, sent_through FROM nodes WHERE sent_through > 0")
        while try sent.step() { sentThrough[sent.integer(0)] = sent.integer(1) }
        sent.reset()
        try connection.run("UPDATE nodes SET session = NULL WHERE session IS NOT NULL")
        return QueueStore(connection, statements, lock, opening, retained: retainedMemory, purges: purges, sentThrough: sentThrough)
    }

    private static func connect(_ path: String, setsDamagedAside: Bool, _ opening: inout Opening) throws(StoreError) -> Connection {
        do throws(StoreError) {
            return try connect(path, looksAtAll: setsDamagedAside, &opening)
        } catch {
            guard setsDamagedAside, error.code == .damaged else { throw error }
            opening.setAside = (try DamagedFile.setAside(path), error.detail)
        }
        return try connect(path, looksAtAll: false, &opening)
    }

    private static func connect(_ path: String, looksAtAll: Bool, _ opening: inout Opening) throws(StoreError) -> Connection {
        try FileLock.create(path)
        let connection = try Connection.open(path, isReadOnly: false)
        opening.upgradedFrom = try Schema.prepare(connection, looksAtAll: looksAtAll)
        return connection
    }

    // MARK: Lines of slots

    private func grow(to slot: Int32) {
        while lines.count <= Int(slot) { lines.append(HeldLine()) }
    }

    /// A reply: in memory only.
    package func hold(_ slot: Int32, _ line: UnsafeRawBufferPointer, splice: Splice) {
        unsafe put(slot, id: -1, line, splice)
    }

    /// A new message of a connected node.
    package func keep(_ slot: Int32, id: Int64, _ line: UnsafeRawBufferPointer, splice: Splice) {
        unsafe put(slot, id: id, line, splice)
        lines[Int(slot)].isRow = true
        keeps.append((slot, id))
        uncommittedBytes += line.count
    }

    /// A row that was read with `load`.
    package func loaded(_ slot: Int32, id: Int64, _ line: UnsafeRawBufferPointer, splice: Splice) {
        unsafe put(slot, id: id, line, splice)
        let at = Int(slot)
        lines[at].isRow = true
        lines[at].isIndexed = true
        lines[at].isOnDisk = true
    }

    private func put(_ slot: Int32, id: Int64, _ line: UnsafeRawBufferPointer, _ splice: Splice) {
        grow(to: slot)
        let at = Int(slot)
        memory += line.count - lines[at].bytes.count
        lines[at] = HeldLine()
        lines[at].id = id
        unsafe lines[at].bytes = [UInt8](line)
        lines[at].spliceStart = splice.start
        lines[at].spliceLength = splice.length
    }

    /// A newer version of the slot's message; the row keeps its number.
    package func replace(_ row: Row, _ slot: Int32, _ line: UnsafeRawBufferPointer, splice: Splice) {
        let at = Int(slot)
        memory += line.count - lines[at].bytes.count
        unsafe lines[at].bytes = [UInt8](line)
        lines[at].spliceStart = splice.start
        lines[at].spliceLength = splice.length
        lines[at].wasSent = false
        lines[at].isNewer = true
        uncommittedBytes += line.count
        if lines[at].isIndexed {
            park(row, lines[at].bytes)
        } else if lines[at].isOnDisk {
            rewrites.append((slot, row.id))
        }
    }

    /// The message has been written to the output.
    package func wasSent(_ slot: Int32, node: Int64) {
        let at = Int(slot)
        lines[at].wasSent = true
        if lines[at].isIndexed { noteSent(node, lines[at].id) }
        release(at)
    }

    /// A row of `pending` was sent to its node, and perhaps all before it.
    func noteSent(_ node: Int64, _ id: Int64) {
        guard id > sentThrough[node] ?? 0 else { return }
        sentThrough[node] = id
        newlySent[node] = id
    }

    /// The last row of the node in `pending` that may have been sent; 0 when none has.
    package func lastSent(_ node: Int64) -> Int64 { sentThrough[node] ?? 0 }

    /// Gives back the memory of a line that has been sent and is on disk.
    private func release(_ at: Int) {
        guard lines[at].isRow, lines[at].isOnDisk, !lines[at].isNewer else { return }
        guard lines[at].wasSent || memory > retainedMemory else { return }
        memory -= lines[at].bytes.count
        lines[at].bytes = []
    }

    func forget(_ at: Int) {
        memory -= lines[at].bytes.count
        lines[at] = HeldLine()
    }

    /// Calls `body` with the line of `slot`, from memory or from disk.
    /// - Returns: the line was there.
    package func withLine(_ slot: Int32, _ body: (UnsafeRawBufferPointer, Splice) -> Void) throws(StoreError) -> Bool {
        let at = Int(slot)
        let splice = Splice(start: lines[at].spliceStart, length: lines[at].spliceLength)
        if !lines[at].bytes.isEmpty {
            unsafe lines[at].bytes.withUnsafeBytes { unsafe body($0, splice) }
            return true
        }
        try beginReading()
        if lines[at].isIndexed, unsafe try read(statements[.lineOfPending], lines[at].id, splice, body) { return true }
        // Also that of a row whose move to `pending` is not committed yet.
        return unsafe try read(statements[.lineOfRecent], lines[at].id, splice, body)
    }

    private func read(
        _ statement: borrowing Statement, _ id: Int64, _ splice: Splice, _ body: (UnsafeRawBufferPointer, Splice) -> Void
    ) throws(StoreError) -> Bool {
        statement.bind(1, id)
        defer { statement.reset() }
        guard try statement.step() else { return false }
        unsafe body(statement.bytes(0), splice)
        return true
    }

    // MARK: State of the batch

    /// Rows wait for a commit.
    package var hasRows: Bool {
        !(keeps.isEmpty && parks.isEmpty && rewrites.isEmpty && moves.isEmpty && newNodes.isEmpty && newlySent.isEmpty && backoffs.isEmpty
            && errors.isEmpty && sessions.isEmpty)
    }

    /// Something waits for a commit.
    package var hasWork: Bool {
        hasRows
            || !(acknowledgements.isEmpty && removedRecent.isEmpty && removedPending.isEmpty && forgottenNodes.isEmpty)
    }

    func countUncommitted(_ bytes: Int) { uncommittedBytes += bytes }

    /// What waited is on disk.
    func batchIsOnDisk() {
        commits += 1
        for keep in keeps where lines[Int(keep.slot)].id == keep.id {
            lines[Int(keep.slot)].isOnDisk = true
            lines[Int(keep.slot)].isNewer = false
            release(Int(keep.slot))
        }
        for rewrite in rewrites where lines[Int(rewrite.slot)].id == rewrite.id { lines[Int(rewrite.slot)].isNewer = false }
        newNodes.removeAll(keepingCapacity: true)
        keeps.removeAll(keepingCapacity: true)
        rewrites.removeAll(keepingCapacity: true)
        moves.removeAll()
        parks.removeAll()
        newlySent.removeAll()
        backoffs.removeAll()
        errors.removeAll()
        sessions.removeAll()
        acknowledgements.removeAll()
        removedRecent.removeAll(keepingCapacity: true)
        removedPending.removeAll()
        purges.append(contentsOf: forgottenNodes)
        forgottenNodes.removeAll()
        uncommittedBytes = 0
    }
}

/// Where the session number goes in a line: at `start`, in the place of `length` bytes, or as a new member when that is 0.
package struct Splice: Sendable, Equatable {
    package let start: Int32
    package let length: Int32

    package init(start: Int32, length: Int32) {
        self.start = start
        self.length = length
    }
}

/// A row to be written to `pending`.
struct Park {
    let row: Row
    let line: [UInt8]
}

/// A key's acknowledged version to be written.
struct Acknowledgement {
    let node: Int64
    var text: RowText
    /// Nil when the key is forgotten.
    var version: [UInt8]?
    /// What the file holds does not count.
    var resets = false
}

enum Version {
    /// Both are decimal digits without leading zeros; none at all is lower than any.
    static func isHigher(_ left: ArraySlice<UInt8>, than right: ArraySlice<UInt8>) -> Bool {
        if left.count != right.count { return left.count > right.count }
        for (one, other) in zip(left, right) where one != other { return one > other }
        return false
    }
}
