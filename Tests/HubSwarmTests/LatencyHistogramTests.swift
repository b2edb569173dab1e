import Testing

@testable import HubSwarm

@Suite("Latencies in buckets")
struct LatencyHistogramTests {
    @Test("without samples everything is 0")
    func empty() {
        let histogram = LatencyHistogram()
        #expect(histogram.percentile(50) == 0)
        #expect(histogram.max == 0)
        #expect(histogram.mean == 0)
    }

    @Test("small samples are exact")
    func small() {
        var histogram = LatencyHistogram()
        for value in 1...1000 { histogram.record(Int64(value)) }
        #expect(histogram.percentile(1) == 10)
        #expect(histogram.percentile(50) == 500)
        #expect(histogram.percentile(99.9) == 999)
        #expect(histogram.percentile(100) == 1000)
        #expect(histogram.mean == 500)
    }

    @Test("a percentile is never below the true one, and at most 0.1 % above", arguments: [1.0, 25, 50, 90, 99, 99.9, 100])
    func large(percent: Double) {
        var random = FastRandom(seed: 7)
        var histogram = LatencyHistogram()
        var samples: [Int64] = []
        for _ in 0..<20_000 {
            // All magnitudes up to an hour.
            let sample = Int64(random.next() >> (32 + random.next() % 32))
            samples.append(sample)
            histogram.record(sample)
        }
        samples.sort()
        // In whole thousandths of a per cent, so that 99.9 % of 20,000 are 19,980.
        let rank = (Int((percent * 1000).rounded()) * samples.count + 99_999) / 100_000
        let truth = samples[rank - 1]
        let value = histogram.percentile(percent)
        #expect(value >= truth)
        #expect(Double(value) <= Double(truth) * 1.001)
        #expect(histogram.max == samples.last)
    }

    @Test("a clock that was set back counts as 0, and a huge sample in the last bucket")
    func extremes() {
        var histogram = LatencyHistogram()
        histogram.record(-5)
        histogram.record(.max)
        histogram.record(1 << 40)
        #expect(histogram.count == 3)
        #expect(histogram.percentile(30) == 0)
        #expect(histogram.percentile(100) == .max)
    }

    @Test("sums are what one histogram would have counted")
    func sums() {
        var (left, right, whole) = (LatencyHistogram(), LatencyHistogram(), LatencyHistogram())
        for value in stride(from: Int64(1), to: 1_000_000, by: 997) {
            if value % 2 == 0 { left.record(value) } else { right.record(value) }
            whole.record(value)
        }
        left.add(right)
        left.add(LatencyHistogram())
        #expect(left == whole)
    }
}
