// Rules 3, 5 and 9: who is connected, and whose answer counts.

import HubQueue
import Testing

@Suite struct SessionTests {
    @Test("a larger session ends the older one, a smaller one changes nothing")
    func sessions() {
        var queue = TestQueue()
        queue.connect("n", 10)
        queue.cloud(Lines.ack("n", "a", "1", "a"))
        queue.connect("n", 20)
        #expect(queue.sent.map(\.session) == [10, 20])
        queue.connect("n", 20)
        queue.connect("n", 15)
        queue.disconnect("n", 10)
        queue.cloud(Lines.ack("n", "b", "1", "b"))
        #expect(queue.sent.map(\.session) == [10, 20, 20])
        queue.disconnect("n", 20)
        queue.cloud(Lines.ack("n", "c", "1", "c"))
        queue.connect("n", 19)
        #expect(queue.sent.count == 3)
        queue.connect("n", 21)
        #expect(queue.sent.dropFirst(3).map(\.id) == ["a", "b", "c"])
    }

    @Test("after a reset any session counts as newer")
    func reset() {
        var queue = TestQueue()
        queue.connect("n", 100)
        queue.connect("m", 100)
        queue.cloud(Lines.ack("n", "a", "1", "a"))
        queue.reset()
        #expect(queue.machine.onlineCount == 0)
        queue.connect("n", 5)
        #expect(queue.sent.map(\.session) == [100, 5])
    }

    @Test("an acknowledgement of an earlier session counts, also when the message has left memory", arguments: [true, false])
    func lateAcknowledgement(isParked: Bool) {
        var queue = TestQueue()
        queue.connect("n", 1)
        queue.cloud(Lines.ack("n", "a", "1", "a"))
        queue.disconnect("n", 1)
        if isParked { queue.park() }
        queue.acknowledge("n", "a")
        #expect(queue.disk.rows.isEmpty)
        #expect(queue.versions == ["1"])
        queue.acknowledge("n", "a")
        #expect(queue.machine.counters.duplicateAcks == 1)
        queue.connect("n", 2)
        #expect(queue.sent.count == 1)
    }

    @Test("an acknowledgement of a message that was never sent is unknown", arguments: [true, false])
    func neverSent(isOnline: Bool) {
        var queue = TestQueue { $0.window = 1 }
        if isOnline { queue.connect("n") }
        queue.cloud(Lines.ack("n", "a", "1", "a"), Lines.ack("n", "b", "1", "b"))
        queue.acknowledge("n", "b")
        queue.acknowledge("n", "nothing")
        queue.acknowledge("m", "a")
        #expect(queue.machine.counters.unknownAcks == 3)
        #expect(queue.pendingKeys == ["a", "b"])
    }

    @Test("a superseded version counts in its session only")
    func superseded() {
        var queue = TestQueue()
        queue.connect("n", 1)
        queue.cloud(Lines.ack("n", "a", "1", "v1"))
        queue.cloud(Lines.ack("n", "a", "2", "v2"))
        queue.wait(5)
        #expect(queue.sentIDs == ["v1", "v2"])
        // Both are on their way; the older answer comes late.
        queue.acknowledge("n", "v1")
        #expect(queue.versions == ["1"])
        #expect(queue.pendingKeys == ["a"])
        queue.cloud(Lines.ack("n", "a", "3", "v3"))
        queue.connect("n", 2)
        #expect(queue.sentIDs == ["v1", "v2", "v3"])
        queue.acknowledge("n", "v2")
        #expect(queue.versions == ["1"])
        #expect(queue.machine.counters.unknownAcks == 1)
        queue.acknowledge("n", "v3")
        #expect(queue.versions == ["3"])
    }

    @Test("many superseded versions are remembered, but not without bound")
    func manySuperseded() {
        var queue = TestQueue()
        queue.connect("n")
        for version in 1...40 {
            queue.cloud(Lines.ack("n", "a", "\(version)", "v\(version)"))
            queue.wait(5)
        }
        queue.acknowledge("n", "v2")
        #expect(queue.machine.counters.unknownAcks == 1)
        queue.acknowledge("n", "v30")
        #expect(queue.versions == ["30"])
        queue.acknowledge("n", "v40")
        #expect(queue.versions == ["40"])
    }

    @Test("the acknowledgement of a delete forgets the key, that of a deletion timestamp does not")
    func deletions() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "5", "terminating", force: true))
        queue.acknowledge("n", "terminating")
        #expect(queue.versions == ["5"])
        queue.cloud(Lines.delete("n", "a", "gone"))
        queue.acknowledge("n", "gone")
        #expect(queue.versions.isEmpty)
    }

    // MARK: who and live

    @Test("who is asked at the start and every while")
    func asks() {
        var queue = TestQueue { $0.reconcile = 30 * TestQueue.second }
        queue.wait(0)
        #expect(queue.asked == 1)
        queue.wait(29.9)
        #expect(queue.asked == 1)
        queue.wait(60.1)
        #expect(queue.asked == 4)
    }

    @Test("live ends the sessions that were not confirmed since the question")
    func live() {
        var queue = TestQueue()
        queue.connect("stays", 1)
        queue.connect("gone", 1)
        queue.machine.asked(Array("q1".utf8))
        queue.connect("new", 1)
        queue.connect("stays", 1)
        queue.live("another")
        #expect(queue.machine.onlineCount == 3)
        queue.live("q1")
        #expect(queue.machine.onlineCount == 2)
        #expect(queue.machine.counters.reconciled == 1)
        // The session may turn out to live after all.
        queue.connect("gone", 1)
        #expect(queue.machine.onlineCount == 3)
        queue.live("q1")
        #expect(queue.machine.onlineCount == 3)
    }

    @Test("a confirmation changes nothing")
    func again() {
        var queue = TestQueue()
        queue.connect("n", 3)
        queue.cloud(Lines.ack("n", "a", "1", "a"))
        queue.machine.asked(Array("q".utf8))
        queue.connect("n", 3)
        queue.live("q")
        #expect(queue.sentIDs == ["a"])
        #expect(queue.machine.onlineCount == 1)
    }

    // MARK: Drained

    @Test("drained means nothing pending for a node that is online")
    func drained() {
        var queue = TestQueue()
        #expect(!queue.machine.hasBeenOnline)
        queue.cloud(Lines.ack("off", "a", "1", "x"), Lines.ack("n", "a", "1", "a"))
        #expect(queue.machine.isDrained)
        queue.connect("n")
        #expect(queue.machine.hasBeenOnline)
        #expect(!queue.machine.isDrained)
        queue.acknowledge("n", "a")
        #expect(queue.machine.isDrained)
    }
}
