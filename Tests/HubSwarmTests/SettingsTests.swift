import Testing

@testable import HubSwarm

@Suite("What a user writes")
struct SettingsTests {
    @Test(
        "endpoints",
        arguments: [
            ("127.0.0.1:10000", "127.0.0.1", 10_000), ("hub.example", "hub.example", 7), ("wss://hub.example:1/", "hub.example", 1),
            ("[::1]:5", "::1", 5), ("[::1]", "::1", 7),
        ])
    func endpoints(text: String, host: String, port: Int) {
        let endpoint = Endpoint(text, schemes: ["ws", "wss"], defaultPort: 7)
        #expect(endpoint?.host == host)
        #expect(endpoint?.port == port)
    }

    @Test("no endpoints", arguments: ["", ":1", "a:b", "a:0", "a:65536", "http://a:1", "a b:1", "[::1", "[::1]x", "a:1:2", "u@h:1"])
    func noEndpoints(text: String) {
        #expect(Endpoint(text, schemes: ["ws", "wss"], defaultPort: 7) == nil)
    }

    @Test("victims")
    func victims() {
        #expect(Victims("25%") == .percent(25))
        #expect(Victims("uid-1") == .key(Array("uid-1".utf8)))
        #expect(Victims("") == nil)
        #expect(Victims("101%") == nil)
        #expect((0..<10).filter { Victims.percent(25).includes(node: $0, of: 10) } == [0, 1, 2])
        #expect((0..<10).filter { Victims.percent(0).includes(node: $0, of: 10) } == [])
        #expect((0..<10).filter { Victims.percent(100).includes(node: $0, of: 10) }.count == 10)
        #expect(!Victims.none.includes(node: 0, of: 1))
        #expect(!Victims.key([1]).includes(node: 0, of: 1))
    }

    @Test("causes that a peer chooses are bounded")
    func causes() {
        var causes = Causes()
        for code in 0..<1000 { causes.add("closed-\(code)") }
        #expect(causes.counts.count <= Causes.limit + 1)
        #expect(causes.counts.values.reduce(0, +) == 1000)
    }

    @Test("figures add up, and a time that never came does not count as the first")
    func figures() {
        var (left, right) = (SwarmFigures(), SwarmFigures())
        left.received = 3
        left.lastReceived = 50
        right.received = 4
        right.firstReceived = 20
        right.lastReceived = 40
        right.causes.add("eof")
        left.add(right)
        #expect((left.received, left.firstReceived, left.lastReceived) == (7, 20, 50))
        #expect(left.causes.counts == ["eof": 1])
    }
}
