// Latencies in a fixed number of buckets: exact up to 1023, above that at most 0.1 % wide, whatever the number of samples.
//
// The buckets are those of Gil Tene's HdrHistogram with three significant digits: each power of two is cut into equal steps, so the
// relative error is the same for a microsecond and an hour, and histograms of several threads can be added. A value stands for its
// bucket's upper end, so a percentile is never too small.

/// A histogram of non-negative integers, here microseconds. It takes 104 KB from its first sample on and never grows.
package struct LatencyHistogram: Sendable, Equatable {
    /// Buckets per power of two.
    private static let steps = 1024
    private static let stepBits = 10
    /// Values from 2^35 µs (9.5 hours) on share the last bucket.
    private static let maxBits = 35
    private static let bucketCount = (maxBits - stepBits + 1) * steps

    private var buckets: [UInt32] = []
    package private(set) var count = 0
    /// The largest sample, exact.
    package private(set) var max: Int64 = 0
    private var sum: Int64 = 0

    package init() {}

    /// Counts one sample. A negative one, made by a clock that was set back, counts as 0.
    package mutating func record(_ sample: Int64) {
        if buckets.isEmpty { buckets = [UInt32](repeating: 0, count: Self.bucketCount) }
        let value = Swift.max(sample, 0)
        buckets[Self.bucket(of: value)] &+= 1
        count += 1
        sum &+= value
        max = Swift.max(max, value)
    }

    package mutating func add(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        if buckets.isEmpty { buckets = [UInt32](repeating: 0, count: Self.bucketCount) }
        for index in other.buckets.indices { buckets[index] &+= other.buckets[index] }
        count += other.count
        sum &+= other.sum
        max = Swift.max(max, other.max)
    }

    /// The mean of the samples, 0 without any.
    package var mean: Int64 { count == 0 ? 0 : sum / Int64(count) }

    /// The smallest value that at least `percent` of the samples do not exceed, rounded up to its bucket's end; 0 without samples.
    package func percentile(_ percent: Double) -> Int64 {
        guard count > 0 else { return 0 }
        // 99.9 % of 1,000 are 999, although the product of the nearest binary numbers is a little more.
        let wanted = Swift.max(1, Int((percent * Double(count) / 100 * (1 - 1e-12)).rounded(.up)))
        var seen = 0
        for index in buckets.indices {
            seen += Int(buckets[index])
            if seen >= wanted { return Swift.min(Self.upperEnd(of: index), max) }
        }
        return max
    }

    /// Below `steps` each value has its bucket; above, a power of two is cut into `steps` equal ones.
    private static func bucket(of value: Int64) -> Int {
        guard value >= steps else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        guard exponent < maxBits else { return bucketCount - 1 }
        let step = Int(value >> Int64(exponent - stepBits)) - steps
        return (exponent - stepBits + 1) * steps + step
    }

    private static func upperEnd(of bucket: Int) -> Int64 {
        guard bucket >= steps else { return Int64(bucket) }
        guard bucket < bucketCount - 1 else { return .max }
        let shift = Int64(bucket / steps - 1)
        return Int64(bucket % steps + steps + 1) << shift - 1
    }
}
