// Owners of SQLite's two handles. All calls of one connection come from one thread.

internal import CSQLite

/// An open database; closed when it goes out of use.
@safe struct Connection: ~Copyable {
    fileprivate let raw: OpaquePointer
    let path: String

    private init(adopting raw: OpaquePointer, path: String) {
        unsafe self.raw = unsafe raw
        self.path = path
    }

    deinit { unsafe sqlite3_close_v2(raw) }

    /// - Parameter isReadOnly: nothing is written, and the file must exist.
    static func open(_ path: String, isReadOnly: Bool) throws(StoreError) -> Connection {
        var handle: OpaquePointer?
        // NOMUTEX: one thread per connection.
        let mode = isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        let result = unsafe sqlite3_open_v2(path, &handle, mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard let raw = unsafe handle else { throw StoreError(.other, "cannot open \(path): out of memory") }
        let connection = unsafe Connection(adopting: raw, path: path)
        guard result == SQLITE_OK else { throw connection.error("cannot open", result) }
        return connection
    }

    /// Runs statements that return no rows.
    func run(_ sql: String) throws(StoreError) {
        let result = unsafe sqlite3_exec(raw, sql, nil, nil, nil)
        guard result == SQLITE_OK else { throw error("cannot use", result) }
    }

    /// The first column of the first row.
    func number(_ sql: String) throws(StoreError) -> Int64 {
        let statement = try prepare(sql)
        let hasRow = try statement.step()
        defer { statement.reset() }
        return hasRow ? statement.integer(0) : 0
    }

    func text(_ sql: String) throws(StoreError) -> String {
        let statement = try prepare(sql)
        let hasRow = try statement.step()
        defer { statement.reset() }
        return hasRow ? unsafe String(decoding: statement.bytes(0), as: UTF8.self) : ""
    }

    func prepare(_ sql: String) throws(StoreError) -> Statement {
        var handle: OpaquePointer?
        let result = unsafe sqlite3_prepare_v3(raw, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &handle, nil)
        guard result == SQLITE_OK, let statement = unsafe handle else { throw error("cannot use", result) }
        return unsafe Statement(adopting: statement, path: path)
    }

    /// No transaction is open.
    var isIdle: Bool { unsafe sqlite3_get_autocommit(raw) != 0 }

    /// Ends a transaction that cannot be kept; SQLite may already have done so.
    func rollBack() {
        guard !isIdle else { return }
        _ = unsafe sqlite3_exec(raw, "ROLLBACK", nil, nil, nil)
    }

    /// Rows changed by the last statement.
    var changes: Int64 { unsafe sqlite3_changes64(raw) }

    /// Writes back from the log what it can without waiting for anybody.
    /// - Returns: pages in the log, and those of them written back.
    func checkpoint() throws(StoreError) -> (logged: Int32, done: Int32) {
        var logged: Int32 = 0
        var done: Int32 = 0
        let result = unsafe sqlite3_wal_checkpoint_v2(raw, nil, SQLITE_CHECKPOINT_PASSIVE, &logged, &done)
        guard result == SQLITE_OK else { throw error("cannot check point", result) }
        return (logged, done)
    }

    /// Calls `hook` with `context` and the number of pages in the log after each commit.
    func watchLog(
        _ hook: @escaping @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<CChar>?, Int32) -> Int32,
        _ context: UnsafeMutableRawPointer
    ) {
        unsafe _ = sqlite3_wal_hook(raw, hook, context)
    }

    func error(_ what: String, _ result: Int32) -> StoreError {
        StoreError(result, "\(what) \(path)", unsafe String(cString: sqlite3_errmsg(raw)))
    }
}

extension StoreError {
    fileprivate init(_ result: Int32, _ what: String, _ text: String) {
        let code: Code
        switch result & 0xff {
        case SQLITE_NOTADB, SQLITE_CORRUPT: code = .damaged
        case SQLITE_PERM, SQLITE_AUTH, SQLITE_READONLY: code = .permission
        case SQLITE_CANTOPEN: code = .open
        case SQLITE_FULL, SQLITE_IOERR, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_NOMEM, SQLITE_PROTOCOL: code = .temporary
        default: code = .other
        }
        self.init(code, "\(what): \(text)", result: result)
    }
}

/// A prepared statement; finalized when it goes out of use.
@safe struct Statement: ~Copyable {
    private let raw: OpaquePointer
    private let path: String

    fileprivate init(adopting raw: OpaquePointer, path: String) {
        unsafe self.raw = unsafe raw
        self.path = path
    }

    deinit { unsafe sqlite3_finalize(raw) }

    @inline(__always) func bind(_ position: Int32, _ value: Int64) { unsafe _ = sqlite3_bind_int64(raw, position, value) }
    @inline(__always) func bind(_ position: Int32, hash: UInt64) { bind(position, Int64(bitPattern: hash)) }
    func bindNull(_ position: Int32) { unsafe _ = sqlite3_bind_null(raw, position) }

    /// The bytes must stay where they are until the statement is reset.
    @inline(__always) func bind(_ position: Int32, blob: UnsafeRawBufferPointer) {
        unsafe _ = sqlite3_bind_blob64(raw, position, blob.baseAddress, UInt64(blob.count), nil)
    }

    /// As for a blob; `text` is UTF-8.
    @inline(__always) func bind(_ position: Int32, text: UnsafeRawBufferPointer) {
        let start = unsafe text.baseAddress?.assumingMemoryBound(to: CChar.self)
        unsafe _ = sqlite3_bind_text64(raw, position, start, UInt64(text.count), nil, UInt8(SQLITE_UTF8))
    }

    /// As `text`, for bytes that need not stay.
    func bind(_ position: Int32, copying text: [UInt8]) {
        // An empty array has no address, and SQLite takes that for NULL; so there is always a byte more than counts.
        let bytes = text + [0]
        unsafe bytes.withUnsafeBytes { raw in
            let start = unsafe raw.baseAddress?.assumingMemoryBound(to: CChar.self)
            // SQLITE_TRANSIENT, a macro that is not imported.
            let copies = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
            unsafe _ = sqlite3_bind_text64(self.raw, position, start, UInt64(text.count), copies, UInt8(SQLITE_UTF8))
        }
    }

    /// Takes one step.
    /// - Returns: there is a row.
    @inline(__always) func step() throws(StoreError) -> Bool { try outcome(stepResult()) }

    /// Runs a statement that returns no row, and makes it ready for the next use.
    @inline(__always) func run() throws(StoreError) {
        _ = try step()
        reset()
    }

    /// Takes one step inside a closure that cannot throw; the result goes to `outcome`.
    @inline(__always) func stepResult() -> Int32 { unsafe sqlite3_step(raw) }

    /// - Returns: there is a row.
    @inline(__always) func outcome(_ result: Int32) throws(StoreError) -> Bool {
        switch result {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default:
            let text = unsafe String(cString: sqlite3_errmsg(sqlite3_db_handle(raw)))
            unsafe _ = sqlite3_reset(raw)
            throw StoreError(result, "cannot use \(path)", text)
        }
    }

    @inline(__always) func reset() { unsafe _ = sqlite3_reset(raw) }

    @inline(__always) func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(raw, column) }
    @inline(__always) func hash(_ column: Int32) -> UInt64 { UInt64(bitPattern: integer(column)) }
    func isNull(_ column: Int32) -> Bool { unsafe sqlite3_column_type(raw, column) == SQLITE_NULL }

    /// The bytes of a text or blob, valid until the next step or reset.
    @inline(__always) func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
        let start = unsafe sqlite3_column_blob(raw, column)
        return unsafe UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(sqlite3_column_bytes(raw, column)))
    }
}
