import HubMessage
import Testing

@testable import HubKeepalive

private let second: Int64 = 1_000_000_000

/// A monitor with a clock that the test moves.
private struct Bench {
    var monitor: KeepaliveMonitor
    var output = KeepaliveMonitor.Output()
    var now: Int64 = 0

    init(timeout: Int64 = 30 * second) {
        monitor = KeepaliveMonitor(timeout: timeout, now: 0)
    }

    @discardableResult
    mutating func take(_ text: String) -> String? {
        unsafe Array(text.utf8).withUnsafeBytes { bytes in
            do throws(MessageError) { return monitor.take(try unsafe Line.scan(bytes), time: now / 1000, &output) } catch { return "scan" }
        }
    }

    /// Lets time pass in the steps in which the stage wakes.
    mutating func pass(_ duration: Int64, isListening: Bool = true) {
        let end = now + duration
        while now < end {
            now = min(end, now + second / 2)
            monitor.tick(now: now, isListening: isListening, time: now / 1000, &output)
        }
    }

    mutating func connect(_ node: String, session: Int = 1) {
        take(
            #"{"hub":{"kind":"event","node":"\#(node)","session":\#(session),"event":"connected"},"header":{"msg_id":"m"},"route":{},"content":{"remote":"1.2.3.4:5"}}"#
        )
    }

    mutating func speak(_ node: String, _ operation: String = "keepalive", session: Int = 1) {
        take(
            #"{"hub":{"kind":"up","node":"\#(node)","session":\#(session)},"header":{"msg_id":"m"},"route":{"operation":"\#(operation)"}}"#)
    }

    mutating func disconnect(_ node: String, session: Int = 1) {
        take(#"{"hub":{"kind":"event","node":"\#(node)","session":\#(session),"event":"disconnected"},"header":{"msg_id":"m"},"route":{}}"#)
    }

    func closes() -> [String] {
        output.control.split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
    }
}

@Suite("hub-keepalive")
struct KeepaliveMonitorTests {
    @Test("closes a node that is silent for the timeout, and not before")
    func silence() {
        var bench = Bench()
        bench.connect("a", session: 7)
        bench.pass(29 * second)
        #expect(bench.closes().isEmpty)
        bench.pass(2 * second)
        #expect(bench.closes().count == 1)
        #expect(
            bench.closes().first?.hasPrefix(#"{"hub":{"kind":"event","node":"a","session":7,"event":"close","reason":"keepalive timeout"}"#)
                == true)
    }

    @Test("any line is a sign of life, and only keepalives end here")
    func signs() {
        var bench = Bench()
        bench.connect("a")
        for operation in ["keepalive", "update", "response"] {
            bench.pass(25 * second)
            bench.speak("a", operation)
        }
        bench.pass(25 * second)
        #expect(bench.closes().isEmpty)
        #expect(bench.output.live.split(separator: 0x0a).count == 3)
        #expect(bench.monitor.counters.keepalives == 1)
    }

    @Test("asks again when the transport does not confirm, and stops when it does")
    func confirmation() {
        var bench = Bench()
        bench.connect("a")
        bench.pass(62 * second)
        #expect(bench.closes().count == 2)
        bench.disconnect("a")
        bench.pass(100 * second)
        #expect(bench.closes().count == 2)
        #expect(bench.monitor.count == 0)
    }

    @Test("time in which it could not read is not silence")
    func pauses() {
        var bench = Bench()
        bench.connect("a")
        bench.pass(20 * second)
        bench.pass(300 * second, isListening: false)
        bench.pass(9 * second)
        #expect(bench.closes().isEmpty)
        bench.pass(3 * second)
        #expect(bench.closes().count == 1)
    }

    @Test("a process that was stopped does not blame the nodes")
    func stopped() {
        var bench = Bench()
        bench.connect("a")
        bench.pass(20 * second)
        bench.now += 3600 * second
        bench.monitor.tick(now: bench.now, isListening: true, time: 0, &bench.output)
        bench.pass(9 * second)
        #expect(bench.closes().isEmpty)
    }

    @Test("an old session's end does not touch the new one")
    func sessions() {
        var bench = Bench()
        bench.connect("a", session: 1)
        bench.connect("a", session: 2)
        bench.disconnect("a", session: 1)
        #expect(bench.monitor.count == 1)
        bench.disconnect("a", session: 2)
        #expect(bench.monitor.count == 0)
    }

    @Test("a node that comes back before its old timer has fired has one timer")
    func oneTimer() {
        var bench = Bench()
        for session in 1...50 {
            bench.connect("a", session: session)
            bench.pass(second / 2)
            bench.disconnect("a", session: session)
        }
        bench.connect("a", session: 100)
        bench.pass(31 * second)
        #expect(bench.closes().count == 1)
    }

    @Test("a reset of the transport ends every node it knew")
    func reset() {
        var bench = Bench()
        bench.connect("a", session: 3)
        bench.connect("b", session: 4)
        bench.output.live = []
        bench.take(#"{"hub":{"kind":"event","event":"reset"},"header":{"msg_id":"m"},"route":{}}"#)
        let lines = bench.output.live.split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
        #expect(lines.count == 3)
        #expect(lines.dropLast().allSatisfy { $0.contains(#""event":"disconnected","reason":"transport restarted""#) })
        #expect(lines.last?.contains(#""event":"reset""#) == true)
        #expect(bench.monitor.count == 0)
    }

    @Test("lists nodes with session, address and times")
    func status() {
        var bench = Bench()
        bench.connect("a", session: 3)
        bench.now = 5 * second
        bench.speak("a", session: 3)
        #expect(
            String(decoding: bench.monitor.status(), as: UTF8.self)
                == #"{"node":"a","session":3,"remote":"1.2.3.4:5","connected_since":0,"last_seen":5}"# + "\n")
    }

    @Test("refuses lines that are not for it")
    func refusals() {
        var bench = Bench()
        #expect(bench.take(#"{"header":{},"route":{}}"#) != nil)
        #expect(bench.take(#"{"hub":{"kind":"once","node":"a"},"header":{},"route":{}}"#) != nil)
        #expect(bench.take(#"{"hub":{"kind":"event","event":"who"},"header":{"msg_id":"m"},"route":{}}"#) != nil)
        #expect(bench.output.live.isEmpty)
    }

    @Test("10,000 nodes that speak and fall silent in turn")
    func many() {
        var bench = Bench()
        for node in 0..<10_000 { bench.connect("edge-\(node)") }
        for _ in 0..<4 {
            bench.pass(15 * second)
            for node in 0..<5_000 { bench.speak("edge-\(node)") }
        }
        #expect(bench.closes().count == 5_000 * 2)
        #expect(Set(bench.closes().compactMap { $0.split(separator: #"""#).first { $0.hasPrefix("edge-") } }).count == 5_000)
    }
}
