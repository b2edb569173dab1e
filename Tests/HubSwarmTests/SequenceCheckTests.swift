import HubMessage
import Testing

@testable import HubSwarm

@Suite("The order of a flood")
struct SequenceCheckTests {
    private func check(_ lines: [(node: String, sequence: Int)]) throws -> SequenceCheck.Counts {
        var check = SequenceCheck()
        for (node, sequence) in lines {
            try withLine(
                #"{"header":{},"route":{"resource":"node/\#(node)/default/podstatus/p"},"content":{"seq":\#(sequence),"sent":1000}}"#
            ) { check.take($0, now: 1500) }
        }
        return check.counts
    }

    @Test("nodes count for themselves")
    func nodes() throws {
        let counts = try check([("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2)])
        #expect((counts.messages, counts.nodes, counts.missing, counts.disordered) == (5, 2, 0, 0))
        #expect(counts.latency.max == 500)
    }

    @Test("gaps are missing, late ones and repeated ones are disordered")
    func gaps() throws {
        let late = try check([("a", 0), ("a", 2), ("a", 1), ("a", 3)])
        #expect((late.missing, late.disordered) == (1, 1))
        let lost = try check([("a", 1), ("a", 4)])
        #expect((lost.missing, lost.disordered) == (3, 0))
        let twice = try check([("a", 0), ("a", 0)])
        #expect((twice.missing, twice.disordered) == (0, 1))
    }

    @Test("an inner line names its node in the envelope, and events are no messages")
    func others() throws {
        var check = SequenceCheck()
        let inner =
            #"{"hub":{"kind":"up","node":"n","session":1},"header":{},"route":{"resource":"default/podstatus/p"},"content":{"seq":0}}"#
        try withLine(inner) { check.take($0, now: 0) }
        try withLine(#"{"header":{},"route":{"resource":"node/n"},"content":{"event_type":"connected"}}"#) { check.take($0, now: 0) }
        try withLine(#"{"header":{},"route":{}}"#) { check.take($0, now: 0) }
        #expect((check.counts.messages, check.counts.nodes, check.counts.others) == (1, 1, 2))
    }
}
