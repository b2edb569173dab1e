// A rate per second, of all together and of each one, so that one peer's noise leaves room for the others'.

package struct RateWindow: Sendable {
    private let all: Int
    private let each: Int
    private var second: Int64 = 0
    private var total = 0
    private var counts: [String: Int] = [:]

    /// - Parameters:
    ///   - all: events of a second that pass.
    ///   - each: how many of them may have the same key.
    package init(all: Int, each: Int) {
        self.all = all
        self.each = each
    }

    /// Whether an event passes; the table holds at most `all` keys.
    /// - Parameter now: nanoseconds of the monotonic clock.
    package mutating func admits(_ key: String, now: Int64) -> Bool {
        let current = now / 1_000_000_000
        if current != second {
            (second, total) = (current, 0)
            counts.removeAll(keepingCapacity: true)
        }
        guard total < all, counts[key, default: 0] < each else { return false }
        total += 1
        counts[key, default: 0] += 1
        return true
    }
}
