// The statements of a serving connection, prepared once.

/// One statement each.
enum Query: Int, CaseIterable {
    case insertNode
    case noteSession
    case forgetNode
    case insertRecent
    case rewriteRecent
    case deleteRecent
    case lineOfRecent
    case moveRecent
    case insertPending
    case deletePending
    case lineOfPending
    case noteSent
    case noteBackoff
    case noteError
    case findKey
    case findSent
    case lastOnPath
    case load
    case version
    case acknowledge
    case forgetKey
    case purgePending
    case purgeAcknowledged
    case purgeNode

    private static let columns = "id, node, key_hash, path_hash, message_hash, deletes, key, version, line"

    var sql: String {
        switch self {
        case .insertNode: "INSERT INTO nodes(id, name, session, since) VALUES(?1, ?2, NULL, ?3)"
        case .noteSession: "UPDATE nodes SET session = ?2, since = ?3 WHERE id = ?1"
        case .forgetNode: "UPDATE nodes SET forgotten = 1, session = NULL WHERE id = ?1"
        case .insertRecent: "INSERT INTO recent(id, line) VALUES(?1, ?2)"
        case .rewriteRecent: "UPDATE recent SET line = ?2 WHERE id = ?1"
        case .deleteRecent: "DELETE FROM recent WHERE id = ?1"
        case .lineOfRecent: "SELECT line FROM recent WHERE id = ?1"
        case .moveRecent: "REPLACE INTO pending(\(Self.columns)) SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, line FROM recent WHERE id = ?1"
        case .insertPending: "REPLACE INTO pending(\(Self.columns)) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        case .deletePending: "DELETE FROM pending WHERE id = ?1"
        case .lineOfPending: "SELECT line FROM pending WHERE id = ?1"
        case .noteSent: "UPDATE nodes SET sent_through = max(sent_through, ?2) WHERE id = ?1"
        case .noteBackoff: "UPDATE pending SET attempts = ?2, backoff_until = ?3 WHERE id = ?1"
        case .noteError: "UPDATE pending SET error = ?2 WHERE id = ?1"
        case .findKey: "SELECT id, deletes, version, key FROM pending WHERE node = ?1 AND key_hash = ?2"
        case .findSent:
            // Bounded, because a node can make this be asked as often as it likes.
            """
            SELECT id, line FROM pending WHERE id IN (
              SELECT id FROM (
                SELECT id, message_hash FROM pending WHERE node = ?1 AND id > ?3 AND id <= ?4 ORDER BY id LIMIT 1024)
              WHERE message_hash = ?2)
            """
        case .lastOnPath: "SELECT max(id) FROM pending WHERE node = ?1 AND id > ?2 AND path_hash = ?3"
        case .load: "SELECT id, line FROM pending WHERE node = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
        case .version: "SELECT version FROM acknowledged WHERE node = ?1 AND key = ?2"
        // Versions are kept without leading zeros, so the longer one is the higher one.
        case .acknowledge:
            """
            INSERT INTO acknowledged(node, key, version, object) VALUES(?1, ?2, ?3, ?4)
            ON CONFLICT(node, key) DO UPDATE SET version = excluded.version, object = excluded.object
            WHERE length(excluded.version) > length(version)
               OR (length(excluded.version) = length(version) AND excluded.version > version)
            """
        case .forgetKey: "DELETE FROM acknowledged WHERE node = ?1 AND key = ?2"
        case .purgePending: "DELETE FROM pending WHERE id IN (SELECT id FROM pending WHERE node = ?1 LIMIT ?2)"
        case .purgeAcknowledged:
            "DELETE FROM acknowledged WHERE node = ?1 AND key IN (SELECT key FROM acknowledged WHERE node = ?1 LIMIT ?2)"
        case .purgeNode: "DELETE FROM nodes WHERE id = ?1"
        }
    }
}

struct Statements: ~Copyable {
    private let all: InlineArray<24, Statement>

    init(_ connection: borrowing Connection) throws(StoreError) {
        all = try Self.prepare(connection)
    }

    private static func prepare(_ connection: borrowing Connection) throws(StoreError) -> InlineArray<24, Statement> {
        try InlineArray { (position: Int) throws(StoreError) -> Statement in
            guard let query = Query(rawValue: position) else { throw StoreError(.other, "no statement \(position)") }
            return try connection.prepare(query.sql)
        }
    }

    subscript(_ query: Query) -> Statement {
        @inline(__always) _read { yield all[query.rawValue] }
    }
}
