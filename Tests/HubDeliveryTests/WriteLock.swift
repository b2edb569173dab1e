// Another program that keeps the state file locked against writing.

internal import CSQLite

@safe final class WriteLock {
    private var raw: OpaquePointer?

    init?(_ path: String) {
        var handle: OpaquePointer?
        guard unsafe sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nil) == SQLITE_OK else { return nil }
        unsafe raw = handle
        guard unsafe sqlite3_exec(handle, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK else { return nil }
    }

    deinit { unsafe sqlite3_close_v2(raw) }
}
