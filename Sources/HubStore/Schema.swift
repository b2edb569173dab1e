// The layout of the state file, and the way from an older layout to this one.
//
// `recent` holds the rows of connected nodes that are also in memory: no index, appended and deleted by number, because most are
// acknowledged soon. `pending` holds all others, found by node, key or id. After a crash `recent` is moved to `pending`.

internal import CSQLite

enum Schema {
    /// "HubQ": tells the file from other programs' databases.
    static let applicationID: Int64 = 0x4875_6251
    static let version: Int64 = 1

    /// Prepares a connection for serving, and makes or migrates the tables.
    static func prepare(_ connection: borrowing Connection) throws(StoreError) {
        try check(connection)
        try look(connection)
        // Checkpoints are made by a thread of their own; FULL makes each commit durable.
        try connection.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384")
        try connection.run("PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY")
        guard try connection.number("PRAGMA user_version") == 0 else { return }
        try connection.run("BEGIN IMMEDIATE;" + tables + "PRAGMA application_id=\(applicationID); PRAGMA user_version=\(version); COMMIT")
    }

    /// The file is this program's, and not newer than this program.
    static func check(_ connection: borrowing Connection) throws(StoreError) {
        let version = try connection.number("PRAGMA user_version")
        let application = try connection.number("PRAGMA application_id")
        let isEmpty = try connection.number("SELECT count(*) FROM sqlite_schema") == 0
        guard application == applicationID || (application == 0 && version == 0 && isEmpty) else {
            throw StoreError(.damaged, "\(connection.path) is not a state file of hub-queue")
        }
        guard version <= Self.version else {
            throw StoreError(
                .newerSchema,
                "\(connection.path) was written by a newer hub-queue (schema \(version), this program knows \(Self.version))")
        }
    }

    /// The file is undamaged as far as a quick look tells.
    private static func look(_ connection: borrowing Connection) throws(StoreError) {
        // A full look takes a second per gigabyte, so a large file is believed until a page of it turns out to be damaged.
        let size = try connection.number("PRAGMA page_count") * connection.number("PRAGMA page_size")
        guard size <= 64 << 20 else { return }
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
