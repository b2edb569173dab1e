// Time as the nodes' silence is measured: only time in which the stage could hear them.

/// A clock that stands still while the stage could not read (design: "Flow control", rule 4).
///
/// It is told the real time at least every `maxStep` while it runs; a longer gap means that the process itself was stopped,
/// or could not read because its output was full, and does not count.
package struct LivenessClock: Sendable {
    /// Longest pause that still counts as listening, in nanoseconds.
    package static let maxStep: Int64 = 1_000_000_000

    /// Nanoseconds of listening so far.
    package private(set) var now: Int64 = 0
    private var last: Int64

    /// - Parameter now: monotonic nanoseconds.
    package init(now: Int64) {
        last = now
    }

    /// Lets the clock run to the real time `real`.
    /// - Parameter isListening: input was being read since the last call. A pause counts once it is over, if it was short.
    package mutating func advance(to real: Int64, isListening: Bool) {
        guard isListening else { return }
        let step = real - last
        if step <= Self.maxStep { now += max(0, step) }
        last = real
    }
}
