// How long SQLite's log is, told by SQLite after each commit.

internal import CSQLite

/// The number of pages in the log of one connection.
@safe final class LogSize {
    private let pages: UnsafeMutablePointer<Int32>

    init() {
        unsafe pages = .allocate(capacity: 1)
        unsafe pages.initialize(to: 0)
    }

    deinit { unsafe pages.deallocate() }

    var current: Int { unsafe Int(pages.pointee) }

    /// Begins to watch. This object must live as long as the connection makes commits.
    func watch(_ connection: borrowing Connection) {
        unsafe connection.watchLog(
            { context, _, _, pages in
                unsafe context?.assumingMemoryBound(to: Int32.self).pointee = pages
                return SQLITE_OK
            }, pages)
    }
}
