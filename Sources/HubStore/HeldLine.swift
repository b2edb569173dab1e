// A line in memory, or the knowledge where it lies on disk.

struct HeldLine {
    /// The row's number; 0 for a free slot.
    var id: Int64 = 0
    /// Empty when the line lies on disk only.
    var bytes: [UInt8] = []
    /// Where the session goes: a position, and the length of the number that stands there.
    var spliceStart: Int32 = 0
    var spliceLength: Int32 = 0
    /// A reply has no row.
    var isRow = false
    /// The row lies in `pending`, else in `recent`.
    var isIndexed = false
    /// The row is committed.
    var isOnDisk = false
    /// The line is newer than the row's.
    var isNewer = false
    var wasSent = false
}
