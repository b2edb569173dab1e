// When a recorded line is due, from its own timestamp (design: "The whole hub is a filter", hub-replay).

/// The pace of a replay: the recorded time passes `speed` times as fast as the clock.
package struct Pace: Sendable {
    /// Recorded seconds per second; nil for as fast as lines are read.
    package let speed: Double?
    /// The longest wait between two lines, in nanoseconds of the clock.
    package let longestGap: Int64

    /// The latest recorded time so far, in milliseconds since 1970, and when it was due.
    private var latest: (recorded: Int64, due: Int64)?

    package init(speed: Double?, longestGap: Int64 = .max) {
        self.speed = speed
        self.longestGap = longestGap
    }

    /// The recorded time up to which lines have come; nil before the first one that has a time.
    package var recorded: Int64? { latest?.recorded }

    /// When the next line is due. A line that is older than one before it, or has no time, follows at once.
    /// - Parameters:
    ///   - timestamp: milliseconds since 1970; nil or 0 when the line has none.
    ///   - now: monotonic nanoseconds, used for the first line only.
    package mutating func due(_ timestamp: Int64?, now: Int64) -> Int64 {
        guard let speed else { return now }
        guard let timestamp, timestamp > 0 else { return latest?.due ?? now }
        guard let before = latest else {
            latest = (timestamp, now)
            return now
        }
        guard timestamp > before.recorded else { return before.due }
        let gap = Double(timestamp - before.recorded) * 1e6 / speed
        let wait = gap < Double(longestGap) ? Int64(gap) : longestGap
        let due = before.due.addingReportingOverflow(wait)
        latest = (timestamp, due.overflow ? .max : due.partialValue)
        return latest?.due ?? now
    }
}
