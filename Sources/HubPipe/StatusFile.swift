// A file that tells others what a stage has in hand: renewed while the stage runs, and whenever its counters are asked for.

/// When the file at `path` is to be written, and how.
package struct StatusFile {
    private let path: String
    /// Monotonic nanoseconds.
    private var due: Int64 = 0

    private static let interval: Int64 = 10_000_000_000

    package init(_ path: String) { self.path = path }

    package func isDue(_ now: Int64) -> Bool { now >= due }

    /// When the stage must run next, which for its own work it need not before `other`.
    package func deadline(_ other: Int64?) -> Int64 { min(other ?? .max, due) }

    /// Replaces the file as a whole. The next time comes as usual, also when this one fails.
    package mutating func write(_ content: [UInt8], now: Int64) throws(PipeError) {
        due = now + Self.interval
        try AtomicFile.write(content, to: path)
    }
}
