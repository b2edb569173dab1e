// Rules 2 and 4, and "Flow control" rule 2: what is sent when.

import HubQueue
import Testing

@Suite struct SendingTests {
    private func messages(_ node: String, _ range: ClosedRange<Int>, into queue: inout TestQueue, padding: Int = 0) {
        for number in range { queue.cloud(Lines.ack(node, "k\(number)", "1", "\(node)\(number)", padding: padding)) }
    }

    @Test("no more than the window is on its way; an acknowledgement lets the next one go")
    func window() {
        var queue = TestQueue { $0.window = 3 }
        queue.connect("n")
        messages("n", 1...6, into: &queue)
        #expect(queue.sentIDs == ["n1", "n2", "n3"])
        queue.acknowledge("n", "n2")
        #expect(queue.sentIDs == ["n1", "n2", "n3", "n4"])
        queue.acknowledge("n", "n1", "n3", "n4")
        #expect(queue.sentIDs == ["n1", "n2", "n3", "n4", "n5", "n6"])
    }

    @Test("the window counts bytes too, and a message larger than it goes alone")
    func windowBytes() {
        var queue = TestQueue { $0.windowBytes = 1000 }
        queue.connect("n")
        queue.cloud(
            Lines.ack("n", "a", "1", "a", padding: 300), Lines.ack("n", "b", "1", "b", padding: 2000), Lines.ack("n", "c", "1", "c"))
        #expect(queue.sentIDs == ["a"])
        queue.acknowledge("n", "a")
        #expect(queue.sentIDs == ["a", "b"])
        queue.acknowledge("n", "b")
        #expect(queue.sentIDs == ["a", "b", "c"])
    }

    @Test("each expired acknowledgement halves the window, each acknowledgement adds one")
    func halving() {
        var queue = TestQueue { $0.window = 8 }
        queue.connect("n")
        messages("n", 1...4, into: &queue)
        queue.wait(5)
        // Four expired: 8, 4, 2, 1, and not below 1.
        #expect(queue.sent.count == 4 + 1)
        queue.acknowledge("n", "n1")
        // The window is 2 now, and nothing is in flight.
        #expect(queue.sent.count == 4 + 1 + 2)
        queue.acknowledge("n", "n2")
        queue.acknowledge("n", "n3")
        queue.acknowledge("n", "n4")
        messages("n", 5...20, into: &queue)
        // The window has grown to 5.
        #expect(queue.sent.count == 7 + 1 + 5)
    }

    @Test("a new session opens the window again")
    func windowOfSession() {
        var queue = TestQueue { $0.window = 4 }
        queue.connect("n", 1)
        messages("n", 1...4, into: &queue)
        queue.wait(5)
        queue.connect("n", 2)
        #expect(queue.sent.filter { $0.session == 2 }.map(\.id) == ["n1", "n2", "n3", "n4"])
    }

    @Test("nodes take turns, and a silent node holds up nobody")
    func turns() {
        var queue = TestQueue { $0.window = 4 }
        for node in ["a", "b", "c"] { messages(node, 1...3, into: &queue) }
        queue.isOutputFull = true
        for node in ["a", "b", "c"] { queue.connect(node) }
        #expect(queue.sent.isEmpty)
        queue.isOutputFull = false
        queue.commit()
        #expect(queue.sentIDs == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"])
        messages("a", 4...100, into: &queue)
        messages("b", 4...4, into: &queue)
        #expect(queue.sentIDs.suffix(2) == ["a4", "b4"])
    }

    @Test("one version of a key is in flight; the newest follows its acknowledgement")
    func oneInFlight() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "v1"))
        queue.cloud(Lines.ack("n", "a", "2", "v2"), Lines.ack("n", "a", "3", "v3"))
        #expect(queue.sentIDs == ["v1"])
        queue.acknowledge("n", "v1")
        #expect(queue.sentIDs == ["v1", "v3"])
        #expect(queue.versions == ["1"])
        queue.acknowledge("n", "v3")
        #expect(queue.versions == ["3"])
        #expect(queue.disk.rows.isEmpty)
    }

    @Test("a retry sends the newest, and the attempts begin anew")
    func retryNewest() {
        var queue = TestQueue { $0.attempts = 2 }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "v1"))
        queue.wait(6)
        #expect(queue.sentIDs == ["v1", "v1"])
        queue.cloud(Lines.ack("n", "a", "2", "v2"))
        #expect(queue.sentIDs == ["v1", "v1"])
        queue.wait(9)
        #expect(queue.sentIDs == ["v1", "v1", "v2", "v2"])
        queue.wait(4.9)
        #expect(queue.machine.counters.backoffs == 0)
        queue.wait(0.1)
        #expect(queue.machine.counters.backoffs == 1)
    }

    @Test("messages of one path go one after the other, whatever their keys")
    func pathOrder() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(
            Lines.delete("n", "old", "gone", path: "d/pod/p"), Lines.ack("n", "new", "1", "new", path: "d/pod/p"),
            Lines.ack("n", "third", "1", "third", path: "d/pod/p"), Lines.ack("n", "x", "1", "x"))
        #expect(queue.sentIDs == ["gone", "x"])
        queue.wait(5)
        #expect(queue.sentIDs.contains("new") == false)
        queue.acknowledge("n", "gone")
        #expect(queue.sentIDs.last == "new")
        queue.acknowledge("n", "new", "third")
        #expect(queue.sentIDs.last == "third")
    }

    @Test("the order of a path holds through a backoff and a new session")
    func pathOrderInTrouble() {
        var queue = TestQueue { $0.attempts = 1 }
        queue.connect("n")
        queue.cloud(Lines.delete("n", "old", "gone", path: "p"), Lines.ack("n", "new", "1", "new", path: "p"))
        queue.refuse("n", "gone")
        queue.wait(0.9)
        #expect(queue.sentIDs == ["gone"])
        queue.connect("n", 2)
        #expect(queue.sentIDs == ["gone", "gone"])
        queue.disconnect("n", 2)
        queue.park()
        queue.connect("n", 3)
        #expect(queue.sentIDs == ["gone", "gone", "gone"])
        queue.acknowledge("n", "gone")
        #expect(queue.sentIDs.last == "new")
    }

    @Test("a message that moves to another path frees the one it leaves")
    func pathChange() {
        var queue = TestQueue { $0.window = 1 }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "x", "1", "x"))
        queue.cloud(Lines.ack("n", "a", "1", "a1", path: "p"), Lines.ack("n", "b", "1", "b1", path: "p"))
        queue.cloud(Lines.ack("n", "a", "2", "a2", path: "q"))
        queue.acknowledge("n", "x")
        #expect(queue.sentIDs == ["x", "a2"])
        queue.acknowledge("n", "a2")
        #expect(queue.sentIDs == ["x", "a2", "b1"])
    }

    // MARK: Time

    @Test("sends come five seconds apart, five of them, then the backoff doubles up to five minutes")
    func backoff() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "a"))
        var at: Int64 = 0
        var backoff: Int64 = 1
        for _ in 0..<12 {
            for attempt in 1...5 {
                let count = queue.sent.count
                #expect(queue.now / TestQueue.second == at)
                queue.wait(4.95)
                #expect(queue.sent.count == count)
                queue.wait(0.05)
                at += 5
                #expect(queue.sent.count == count + (attempt < 5 ? 1 : 0))
            }
            let count = queue.sent.count
            queue.wait(Double(backoff) - 0.05)
            #expect(queue.sent.count == count)
            queue.wait(0.05)
            #expect(queue.sent.count == count + 1)
            at += backoff
            backoff = min(2 * backoff, 300)
        }
    }

    @Test("a backoff ends with a newer version or a new session, and the next one is short again")
    func endOfBackoff() {
        var queue = TestQueue { $0.attempts = 1 }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "a1"))
        queue.wait(5 + 1 + 5)
        #expect(queue.sent.count == 2)
        queue.cloud(Lines.ack("n", "a", "2", "a2"))
        #expect(queue.sentIDs == ["a1", "a1", "a2"])
        queue.wait(5)
        queue.connect("n", 2)
        #expect(queue.sentIDs == ["a1", "a1", "a2", "a2"])
        queue.wait(5)
        #expect(queue.sent.count == 4)
        queue.wait(1)
        #expect(queue.sent.count == 5)
    }

    @Test("a refusal backs off at once")
    func refusal() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "a"), Lines.ack("n", "b", "1", "b"))
        queue.refuse("n", "a")
        queue.refuse("n", "unknown")
        queue.wait(0.99)
        #expect(queue.sentIDs == ["a", "b"])
        queue.wait(0.01)
        #expect(queue.sentIDs == ["a", "b", "a"])
        queue.refuse("n", "a")
        queue.wait(1.9)
        #expect(queue.sentIDs == ["a", "b", "a"])
        queue.acknowledge("n", "a")
        #expect(queue.pendingKeys == ["b"])
        #expect(queue.machine.counters.refusedByNode == 2)
        #expect(queue.machine.counters.unknownRefusals == 1)
    }

    @Test("a refused version that a newer one has replaced does not hold that up")
    func refusalOfOlder() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "v1"))
        queue.cloud(Lines.ack("n", "a", "2", "v2"))
        queue.refuse("n", "v1")
        #expect(queue.sentIDs == ["v1", "v2"])
    }

    @Test("other keys flow while one backs off")
    func othersFlow() {
        var queue = TestQueue {
            $0.attempts = 1
            $0.window = 1
        }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "bad", "1", "bad"), Lines.ack("n", "good", "1", "good"))
        #expect(queue.sentIDs == ["bad"])
        queue.wait(5)
        #expect(queue.sentIDs == ["bad", "good"])
    }

    // MARK: Commits

    @Test("a new message goes before its commit, a newer version of one on disk after it")
    func gate() {
        var queue = TestQueue()
        queue.commitsAtOnce = false
        queue.connect("n")
        queue.commit()
        queue.cloud(Lines.ack("n", "a", "1", "v1"))
        #expect(queue.sentIDs == ["v1"])
        queue.commit()
        queue.cloud(Lines.ack("n", "a", "2", "v2"))
        queue.wait(5)
        #expect(queue.sentIDs == ["v1"])
        queue.commit()
        #expect(queue.sentIDs == ["v1", "v2"])
    }

    @Test("what was acknowledged must be off the disk before its key or its path is used again", arguments: ["a", "b"])
    func settled(key: String) {
        var queue = TestQueue()
        queue.commitsAtOnce = false
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "v1", path: "p"))
        queue.commit()
        queue.acknowledge("n", "v1")
        queue.cloud(Lines.ack("n", key, "2", "v2", path: key == "a" ? "q" : "p"), Lines.ack("n", "c", "1", "c"))
        #expect(queue.sentIDs == ["v1", "c"])
        queue.commit()
        #expect(queue.sentIDs == ["v1", "c", "v2"])
    }

    @Test("a message that is acknowledged before its commit needs no gate")
    func folded() {
        var queue = TestQueue()
        queue.commitsAtOnce = false
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "1", "v1"))
        queue.acknowledge("n", "v1")
        queue.cloud(Lines.ack("n", "a", "2", "v2"))
        #expect(queue.sentIDs == ["v1", "v2"])
        #expect(queue.pendingKeys == ["a"])
    }
}
