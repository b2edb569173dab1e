import HubReplay
import Testing

@Suite("The pace of a replay")
struct PaceTests {
    private let second: Int64 = 1_000_000_000

    @Test("recorded time passes as fast as the speed says", arguments: [1.0, 10.0, 0.5])
    func speed(factor: Double) {
        var pace = Pace(speed: factor)
        #expect(pace.due(5_000, now: 7 * second) == 7 * second)
        #expect(pace.due(6_000, now: 99 * second) == 7 * second + Int64(1e9 / factor))
        #expect(pace.due(8_000, now: 0) == 7 * second + Int64(3e9 / factor))
        #expect(pace.recorded == 8_000)
    }

    @Test("a line without time, or older than one before it, follows at once")
    func unordered() {
        var pace = Pace(speed: 1)
        #expect(pace.due(nil, now: 3) == 3)
        #expect(pace.due(10_000, now: 5) == 5)
        #expect(pace.due(9_000, now: 6) == 5)
        #expect(pace.due(nil, now: 6) == 5)
        #expect(pace.due(0, now: 6) == 5)
        #expect(pace.due(11_000, now: 6) == 5 + second)
    }

    @Test("a long pause is shortened, and what follows keeps its distance")
    func gap() {
        var pace = Pace(speed: 2, longestGap: second)
        _ = pace.due(1_000, now: 0)
        #expect(pace.due(3_600_000, now: 0) == second)
        #expect(pace.due(3_601_000, now: 0) == second + second / 2)
    }

    @Test("as fast as it goes, every line is due at once")
    func max() {
        var pace = Pace(speed: nil)
        #expect(pace.due(1_000, now: 4) == 4)
        #expect(pace.due(9_000_000, now: 5) == 5)
    }

    @Test("absurd timestamps do not overflow")
    func overflow() {
        var pace = Pace(speed: 0.000_001)
        _ = pace.due(1, now: .max - 10)
        #expect(pace.due(.max, now: 0) == .max)
        #expect(pace.due(.max, now: 0) == .max)
    }
}
