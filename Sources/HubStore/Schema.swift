// The layout of the state file, and the way from an older layout to this one.
//
// `recent` holds the rows of connected nodes that are also in memory: no index, appended and deleted by number, because most are
// acknowledged soon. `pending` holds all others, found by node, key or id. After a crash `recent` is moved to `pending`.

internal import CSQLite

enum Schema {
    /// "HubQ": tells the file from other programs' databases.
    static let applicationID: Int64 = 0x4875_6251
    static let version: Int64 = 2

    /// What takes a file from one version to the next, the first one from version 1 on. A step is never changed once it has been
    /// released, and works on the tables as its version knew them.
    private static let steps = [keysOfDeletions]

    /// The key of a deletion without uid is its path and its message id; version 1 had the path alone. `recover` makes the columns of
    /// what lies in `recent` anew from the lines, so the rows of deletions go there, with their numbers and so their places.
    private static let keysOfDeletions = """
        INSERT INTO recent(id, line)
          SELECT id, line FROM pending WHERE deletes <> 0 AND node IN (SELECT id FROM nodes WHERE forgotten = 0);
        DELETE FROM pending WHERE deletes <> 0 AND id IN (SELECT id FROM recent);
        """

    /// Prepares a connection for serving, and makes or upgrades the tables.
    /// - Parameter looksAtAll: a large file is looked at as a whole for damage, which takes a second per gigabyte.
    /// - Returns: the version that was upgraded, nil when there was nothing to upgrade.
    static func prepare(_ connection: borrowing Connection, looksAtAll: Bool) throws(StoreError) -> Int64? {
        try check(connection)
        try look(connection, atAll: looksAtAll)
        // Checkpoints are made by a thread of their own; FULL makes each commit durable.
        try connection.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384")
        try connection.run("PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY")
        let found = try connection.number("PRAGMA user_version")
        guard found != version else { return nil }
        let change = found == 0 ? tables + "PRAGMA application_id=\(applicationID);" : steps[(Int(found) - 1)...].joined()
        do throws(StoreError) {
            try connection.run("BEGIN IMMEDIATE;" + change + "PRAGMA user_version=\(version); COMMIT")
        } catch {
            // The file stays as it was, for the next try or for the program that wrote it.
            connection.rollBack()
            throw error
        }
        return found == 0 ? nil : found
    }

    /// The file is this program's, and not newer than this program.
    static func check(_ connection: borrowing Connection) throws(StoreError) {
        let version = try connection.number("PRAGMA user_version")
        let application = try connection.number("PRAGMA application_id")
        let isEmpty = try connection.number("SELECT count(*) FROM sqlite_schema") == 0
        guard application == applicationID || (application == 0 && version == 0 && isEmpty) else {
            throw StoreError(.foreign, "\(connection.path) is not a state file of hub-queue")
        }
        guard version >= 0, version <= Self.version else {
            throw StoreError(
                .newerSchema,
                "\(connection.path) was written by a newer hub-queue (schema \(version), this program knows \(Self.version))")
        }
    }

    /// The file is undamaged as far as a quick look tells.
    private static func look(_ connection: borrowing Connection, atAll: Bool) throws(StoreError) {
        // Otherwise a large file is believed until a page of it turns out to be damaged.
        let size = try connection.number("PRAGMA page_count") * connection.number("PRAGMA page_size")
        guard atAll || size <= 64 << 20 else { return }
        let finding = try connection.text("PRAGMA quick_check(1)")
        guard finding == "ok" || finding.isEmpty else { throw StoreError(.damaged, "\(connection.path) is damaged: \(finding)") }
    }

    private static let tables = """
        CREATE TABLE nodes(
          id INTEGER PRIMARY KEY, name TEXT NOT NULL, session INTEGER, since INTEGER,
          sent_through INTEGER NOT NULL DEFAULT 0, forgotten INTEGER NOT NULL DEFAULT 0);
        CREATE TABLE recent(id INTEGER PRIMARY KEY, line BLOB NOT NULL);
        CREATE TABLE pending(
          id INTEGER PRIMARY KEY, node INTEGER NOT NULL, key_hash INTEGER NOT NULL, path_hash INTEGER NOT NULL,
          message_hash INTEGER NOT NULL, deletes INTEGER NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL,
          attempts INTEGER, backoff_until INTEGER, error TEXT, line BLOB NOT NULL);
        CREATE INDEX pending_order ON pending(node, id, path_hash, message_hash);
        CREATE INDEX pending_key ON pending(node, key_hash);
        CREATE TABLE acknowledged(
          node INTEGER NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, object TEXT NOT NULL, PRIMARY KEY(node, key)) WITHOUT ROWID;

        """
}
