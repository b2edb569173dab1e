// A look at a state file, also while a hub-queue serves from it. Each call reads a few rows in a transaction of its own, so that a
// slow reader of the output does not keep SQLite's log from being written back.

package final class StateReader {
    /// A node that is not forgotten.
    package struct KnownNode: Sendable {
        package let id: Int64
        package let name: [UInt8]
        /// The session that the serving process last wrote; nil when the node is offline.
        package let session: Int64?
        /// Microseconds since 1970: when the node became known, or its session began or ended.
        package let since: Int64
    }

    /// A pending message.
    package struct Message: Sendable {
        package let id: Int64
        package let line: [UInt8]
        package let trouble: RowTrouble
    }

    /// What a node has of one object.
    package struct Acknowledged: Sendable {
        package let node: Int64
        package let key: [UInt8]
        package let version: [UInt8]
        /// The raw JSON object of the envelope; empty when there was none.
        package let object: [UInt8]
    }

    private let connection: Connection
    /// Some process serves from the file.
    package let isServed: Bool

    private init(_ connection: consuming Connection, isServed: Bool) {
        self.connection = connection
        self.isServed = isServed
    }

    package static func open(_ path: String) throws(StoreError) -> StateReader {
        let isServed = FileLock.isTaken(path)
        let connection = try Connection.open(path, isReadOnly: true)
        try connection.run("PRAGMA busy_timeout=2000")
        try Schema.check(connection)
        guard try connection.number("PRAGMA user_version") > 0 else { throw StoreError(.open, "\(path) holds no state") }
        return StateReader(connection, isServed: isServed)
    }

    package func nodes() throws(StoreError) -> [KnownNode] {
        let statement = try connection.prepare("SELECT id, name, session, since FROM nodes WHERE forgotten = 0 ORDER BY name")
        var result: [KnownNode] = []
        while try statement.step() {
            let session = statement.isNull(2) ? nil : statement.integer(2)
            result.append(
                unsafe KnownNode(id: statement.integer(0), name: [UInt8](statement.bytes(1)), session: session, since: statement.integer(3))
            )
        }
        statement.reset()
        return result
    }

    /// Up to `limit` pending messages of all nodes after `after`, in order of arrival.
    package func messages(after: Int64, limit: Int) throws(StoreError) -> [Message] {
        let statement = try connection.prepare(
            """
            SELECT * FROM (
              SELECT id, line, NULL, NULL, NULL FROM (SELECT id, line FROM recent WHERE id > ?1 ORDER BY id LIMIT ?2)
              UNION ALL
              SELECT id, line, attempts, backoff_until, error FROM (
                SELECT * FROM pending WHERE id > ?1 AND node IN (SELECT id FROM nodes WHERE forgotten = 0) ORDER BY id LIMIT ?2))
            ORDER BY 1 LIMIT ?2
            """)
        return try messages(statement, after, limit)
    }

    /// Up to `limit` rows after `after` that a serving process holds in memory.
    package func recent(after: Int64, limit: Int) throws(StoreError) -> [Message] {
        try messages(connection.prepare("SELECT id, line, NULL, NULL, NULL FROM recent WHERE id > ?1 ORDER BY id LIMIT ?2"), after, limit)
    }

    private func messages(_ statement: borrowing Statement, _ after: Int64, _ limit: Int) throws(StoreError) -> [Message] {
        statement.bind(1, after)
        statement.bind(2, Int64(limit))
        var result: [Message] = []
        while try statement.step() {
            var trouble = RowTrouble()
            if !statement.isNull(2) { trouble.attempts = Int(statement.integer(2)) }
            if !statement.isNull(3) { trouble.backoffUntil = statement.integer(3) }
            if !statement.isNull(4) { trouble.error = unsafe [UInt8](statement.bytes(4)) }
            result.append(unsafe Message(id: statement.integer(0), line: [UInt8](statement.bytes(1)), trouble: trouble))
        }
        statement.reset()
        return result
    }

    /// Up to `limit` acknowledged versions after a node and key, in their order.
    package func acknowledged(after node: Int64, _ key: [UInt8], limit: Int) throws(StoreError) -> [Acknowledged] {
        let statement = try connection.prepare(
            """
            SELECT node, key, version, object FROM acknowledged
            WHERE (node, key) > (?1, ?2) AND node IN (SELECT id FROM nodes WHERE forgotten = 0) ORDER BY node, key LIMIT ?3
            """)
        statement.bind(1, node)
        statement.bind(3, Int64(limit))
        statement.bind(2, copying: key)
        var result: [Acknowledged] = []
        while try statement.step() {
            result.append(
                unsafe Acknowledged(
                    node: statement.integer(0), key: [UInt8](statement.bytes(1)), version: [UInt8](statement.bytes(2)),
                    object: [UInt8](statement.bytes(3))))
        }
        statement.reset()
        return result
    }

    /// The line of each node's oldest row in `pending`.
    package func oldest() throws(StoreError) -> [(node: Int64, line: [UInt8])] {
        let statement = try connection.prepare(
            "SELECT p.node, p.line FROM (SELECT node, min(id) AS id FROM pending GROUP BY node) m JOIN pending p ON p.id = m.id")
        var result: [(node: Int64, line: [UInt8])] = []
        while try statement.step() { result.append(unsafe (statement.integer(0), [UInt8](statement.bytes(1)))) }
        statement.reset()
        return result
    }

    /// The last refusal of each node that has refused something which is still pending.
    package func errors() throws(StoreError) -> [Int64: [UInt8]] {
        let statement = try connection.prepare("SELECT node, error FROM pending WHERE error IS NOT NULL ORDER BY id")
        var result: [Int64: [UInt8]] = [:]
        while try statement.step() { result[statement.integer(0)] = unsafe [UInt8](statement.bytes(1)) }
        statement.reset()
        return result
    }

    /// What a look at the whole file found.
    package struct Finding: Sendable {
        package let schema: Int64
        package let bytes: Int64
        /// SQLite's words, at most a hundred; empty for a sound file.
        package let problems: [String]
    }

    /// Looks at every page. A file whose pages cannot even be walked throws instead.
    package func check() throws(StoreError) -> Finding {
        let statement = try connection.prepare("PRAGMA integrity_check")
        var problems: [String] = []
        while try statement.step() { problems.append(unsafe String(decoding: statement.bytes(0), as: UTF8.self)) }
        statement.reset()
        return Finding(
            schema: try connection.number("PRAGMA user_version"),
            bytes: try connection.number("PRAGMA page_count") * connection.number("PRAGMA page_size"),
            problems: problems == ["ok"] ? [] : problems)
    }

    /// Rows of `table` by node.
    package enum Table: String {
        case pending
        case acknowledged
    }

    package func counts(_ table: Table) throws(StoreError) -> [Int64: Int] {
        let statement = try connection.prepare("SELECT node, count(*) FROM \(table.rawValue) GROUP BY node")
        var result: [Int64: Int] = [:]
        while try statement.step() { result[statement.integer(0)] = Int(statement.integer(1)) }
        statement.reset()
        return result
    }
}
