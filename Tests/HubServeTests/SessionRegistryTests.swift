// One live session per node, and the order of its events, under an invented clock.

internal import HubMessage
internal import HubServe
internal import Testing

@Suite("SessionRegistry")
struct SessionRegistryTests {
    /// Event, node, session and reason of each line.
    private func events(_ output: [UInt8]) throws -> [String] {
        try output.split(separator: 0x0a).map { bytes in
            let line = try unsafe Array(bytes).withUnsafeBytes { bytes in
                let line = try unsafe Line.scan(bytes)
                try line.checkEnvelope()
                let hub = line.index.hub
                let parts = [
                    line.string(hub.event), line.string(hub.node), hub.session.map { "\($0)" } ?? "", line.string(hub.reason),
                    hub.again ? "again" : "", line.string(line.index.header.parentID),
                ]
                return parts.filter { !$0.isEmpty }.joined(separator: " ")
            }
            return line
        }
    }

    private func connect(
        _ registry: inout SessionRegistry<Int>, _ node: String, handle: Int, now: Int64, _ output: inout [UInt8]
    ) -> (id: Int64, replaced: SessionRegistry<Int>.Session?) {
        registry.connect(node, handle: handle, project: "p", remote: "192.0.2.1:1", transport: "websocket", now: now, to: &output)
    }

    private func admit(_ registry: inout SessionRegistry<Int>, _ node: String) -> SessionRegistry<Int>.Admission {
        registry.admit(node)
    }

    @Test("a second connection replaces the first: disconnected of the old, then connected of the new")
    func replacement() throws {
        var registry = SessionRegistry<Int>(nodeLimit: 10)
        var output: [UInt8] = []
        let first = connect(&registry, "n", handle: 1, now: 1000, &output)
        let second = connect(&registry, "n", handle: 2, now: 2000, &output)
        #expect(first.replaced == nil)
        #expect(second.replaced?.handle == 1)
        #expect(registry.session(of: "n")?.handle == 2)
        #expect(registry.count == 1)
        #expect(try events(output) == ["connected n 1000", "disconnected n 1000 replaced", "connected n 2000"])
    }

    @Test("the late end of a replaced connection touches nothing")
    func lateEnd() throws {
        var registry = SessionRegistry<Int>(nodeLimit: 10)
        var output: [UInt8] = []
        let first = connect(&registry, "n", handle: 1, now: 1000, &output)
        let second = connect(&registry, "n", handle: 2, now: 2000, &output)
        output = []
        let late = registry.disconnect("n", session: first.id, reason: "connection lost", now: 3000, to: &output)
        #expect(late == nil)
        #expect(output.isEmpty)
        let ended = registry.disconnect("n", session: second.id, reason: "closed by peer", now: 3000, to: &output)
        let again = registry.disconnect("n", session: second.id, reason: "connection lost", now: 3000, to: &output)
        #expect(ended?.handle == 2)
        #expect(again == nil)
        #expect(try events(output) == ["disconnected n 2000 closed by peer"])
        #expect(registry.count == 0)
    }

    @Test("session ids grow by at least one, also when the clock stands still or goes back")
    func ids() {
        var registry = SessionRegistry<Int>(nodeLimit: 10)
        var output: [UInt8] = []
        let ids = [5000, 5000, 4000, 6000].map { (now: Int64) in connect(&registry, "n", handle: 0, now: now, &output).id }
        #expect(ids == [5000, 5001, 5002, 6000])
    }

    @Test("who is answered by all live sessions and a final live with the question's id")
    func who() throws {
        var registry = SessionRegistry<Int>(nodeLimit: 10)
        var output: [UInt8] = []
        for (number, node) in ["a", "b"].enumerated() { _ = connect(&registry, node, handle: number, now: Int64(1000 + number), &output) }
        output = []
        registry.answerWho("q-1", now: 5000, to: &output)
        let lines = try events(output)
        #expect(Set(lines.dropLast()) == ["connected a 1000 again", "connected b 1001 again"])
        #expect(lines.last == "live q-1")
    }

    @Test("a session that is gone is answered by disconnected with the reason gone")
    func gone() throws {
        var output: [UInt8] = []
        SessionRegistry<Int>.appendGone("n", session: 7, now: 5000, to: &output)
        #expect(try events(output) == ["disconnected n 7 gone"])
    }

    @Test("the node limit counts connected and connecting nodes, each once")
    func limit() {
        var registry = SessionRegistry<Int>(nodeLimit: 2)
        var output: [UInt8] = []
        #expect(admit(&registry, "a") == .admitted)
        _ = connect(&registry, "a", handle: 1, now: 1, &output)
        #expect(admit(&registry, "b") == .admitted)
        #expect(admit(&registry, "c") == .full)
        #expect(admit(&registry, "a") == .admitted)
        #expect(admit(&registry, "b") == .admitted)
        registry.release("b")
        #expect(admit(&registry, "c") == .full)
        registry.release("b")
        #expect(admit(&registry, "c") == .admitted)
        registry.release("c")
        registry.release("a")
        registry.disconnect("a", session: 1, reason: "x", now: 2, to: &output)
        #expect(admit(&registry, "d") == .admitted)
        #expect(admit(&registry, "e") == .admitted)
        #expect(admit(&registry, "f") == .full)
    }
}
