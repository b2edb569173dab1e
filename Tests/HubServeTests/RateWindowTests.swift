// Rates of log lines: of all together, and of each peer.

import HubServe
import Testing

@Suite("RateWindow")
struct RateWindowTests {
    private let second: Int64 = 1_000_000_000

    @Test("one key gets its share, the others theirs, until all together have enough")
    func shares() {
        var window = RateWindow(all: 5, each: 3)
        let first = (0..<5).map { _ in window.admits("a", now: 1) }
        #expect(first == [true, true, true, false, false])
        let second = (0..<3).map { _ in window.admits("b", now: 2) }
        #expect(second == [true, true, false])
        let third = window.admits("c", now: 3)
        #expect(!third)
    }

    @Test("the next second begins anew")
    func next() {
        var window = RateWindow(all: 1, each: 1)
        let passed = [0, second - 1, second].map { window.admits("a", now: $0) }
        #expect(passed == [true, false, true])
    }
}
