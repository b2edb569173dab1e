// Rules 1, 6 and 7: what is taken from the cloud.

import HubQueue
import Testing

@Suite struct ArrivalTests {
    @Test("a newer version takes the older one's place in the order")
    func replacesInPlace() {
        var queue = TestQueue()
        queue.cloud(Lines.ack("n", "a", "1", "a1"), Lines.ack("n", "b", "1", "b1"), Lines.ack("n", "a", "2", "a2"))
        queue.connect("n")
        #expect(queue.sentIDs == ["a2", "b1"])
        #expect(queue.machine.counters.superseded == 1)
    }

    @Test(
        "versions compare as unsigned integers of any length",
        arguments: [
            ("9", "10", true), ("10", "9", false), ("10", "10", false), ("010", "10", false), ("10", "0011", true),
            ("18446744073709551615", "18446744073709551616", true), ("340282366920938463463374607431768211456", "9", false),
            ("0", "00", false),
        ])
    func versions(_ pair: (old: String, new: String, isTaken: Bool)) {
        for isPending in [true, false] {
            var queue = TestQueue()
            queue.connect("n")
            queue.cloud(Lines.ack("n", "a", pair.old, "old"))
            if !isPending { queue.acknowledge("n", "old") }
            queue.cloud(Lines.ack("n", "a", pair.new, "new"))
            if isPending { queue.acknowledge("n", "old") }
            #expect(queue.sentIDs == (pair.isTaken ? ["old", "new"] : ["old"]))
            #expect(queue.machine.counters.stale == (pair.isTaken ? 0 : 1))
        }
    }

    @Test("the same rules hold for a message that lies on disk only")
    func parked() {
        var queue = TestQueue()
        queue.cloud(
            Lines.ack("n", "a", "5", "a5"), Lines.ack("n", "a", "5", "same"), Lines.ack("n", "a", "4", "older"),
            Lines.ack("n", "a", "6", "a6"),
            Lines.delete("n", "a", "gone"), Lines.ack("n", "a", "9", "late"), Lines.delete("n", "a", "twice"))
        #expect(queue.machine.counters.stale == 2)
        #expect(queue.machine.counters.superseded == 2)
        #expect(queue.machine.counters.droppedBehindDelete == 2)
        #expect(queue.disk.rows.values.map(\.messageID) == ["gone"])
        queue.connect("n")
        #expect(queue.sentIDs == ["gone"])
    }

    @Test("nothing replaces a pending delete, whether it was sent or not", arguments: [true, false])
    func behindDelete(isSent: Bool) {
        var queue = TestQueue { $0.window = isSent ? 2 : 1 }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "x", "1", "x"), Lines.delete("n", "a", "gone"))
        queue.cloud(Lines.ack("n", "a", "9", "newer"), Lines.ack("n", "a", "9", "forced", force: true), Lines.delete("n", "a", "twice"))
        #expect(queue.machine.counters.droppedBehindDelete == 3)
        queue.acknowledge("n", "x", "gone")
        #expect(queue.sentIDs == ["x", "gone"])
        queue.cloud(Lines.ack("n", "a", "1", "anew"))
        #expect(queue.sentIDs == ["x", "gone", "anew"])
    }

    @Test("two deletions of a path, and what was made between them, all reach the node in their order", arguments: [true, false])
    func pathDeletions(isOnline: Bool) {
        var queue = TestQueue()
        if isOnline { queue.connect("n") }
        queue.cloud(
            Lines.delete("n", "d/cm/p", "first", path: "d/cm/p"), Lines.ack("n", "uid", "1", "anew", path: "d/cm/p"),
            Lines.delete("n", "d/cm/p", "second", path: "d/cm/p"), Lines.delete("n", "d/cm/p", "second", path: "d/cm/p"))
        #expect(queue.machine.counters.droppedBehindDelete == 1)
        if !isOnline { queue.connect("n") }
        queue.acknowledge("n", "first")
        queue.acknowledge("n", "anew")
        queue.acknowledge("n", "second")
        #expect(queue.sentIDs == ["first", "anew", "second"])
        #expect(queue.disk.rows.isEmpty)
    }

    @Test("a forced message is taken whatever its version, and does not lower the acknowledged one")
    func forced() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "9", "a9"))
        queue.acknowledge("n", "a9")
        queue.cloud(Lines.ack("n", "a", "3", "forced", force: true))
        queue.acknowledge("n", "forced")
        #expect(queue.sentIDs == ["a9", "forced"])
        #expect(queue.versions == ["9"])
        queue.cloud(Lines.ack("n", "a", "8", "stale"))
        #expect(queue.machine.counters.stale == 1)
    }

    @Test("a forced message without a version can be replaced by any version")
    func forcedWithoutVersion() {
        var queue = TestQueue()
        queue.cloud(Lines.ack("n", "a", "", "forced", force: true), Lines.ack("n", "a", "0", "zero"))
        queue.connect("n")
        #expect(queue.sentIDs == ["zero"])
    }

    @Test("keys of different nodes are different")
    func nodesApart() {
        var queue = TestQueue()
        queue.cloud(Lines.ack("n", "a", "5", "n5"), Lines.ack("m", "a", "1", "m1"))
        queue.connect("n")
        queue.connect("m")
        #expect(queue.sentIDs == ["n5", "m1"])
    }

    // MARK: Replies

    @Test("a reply stands beside the key and raises its version")
    func reply() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "5", "a5"), Lines.ack("n", "a", "7", "r7", path: "other", reply: true))
        #expect(queue.sentIDs == ["a5", "r7"])
        #expect(queue.pendingKeys == ["a"])
        queue.acknowledge("n", "r7")
        #expect(queue.versions == ["7"])
        #expect(queue.pendingKeys == ["a"])
        queue.acknowledge("n", "a5")
        #expect(queue.versions == ["7"])
        queue.cloud(Lines.ack("n", "a", "2", "r2", path: "other", reply: true))
        #expect(queue.sentIDs == ["a5", "r7", "r2"])
        queue.acknowledge("n", "r2")
        #expect(queue.versions == ["7"])
    }

    @Test("a reply is not kept for a node that is offline, nor for the next session")
    func replyWithoutSession() {
        var queue = TestQueue()
        queue.cloud(Lines.ack("n", "a", "5", "r1", reply: true))
        #expect(queue.machine.counters.repliesDroppedOffline == 1)
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "5", "r2", reply: true))
        queue.connect("n", 2)
        #expect(queue.sentIDs == ["r2"])
        #expect(queue.machine.counters.repliesDroppedUnanswered == 1)
        #expect(queue.disk.rows.isEmpty)
    }

    @Test("a reply is offered as often as attempts say, then its path is free")
    func replyAttempts() {
        var queue = TestQueue { $0.attempts = 3 }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "5", "r", path: "p", reply: true), Lines.ack("n", "b", "1", "b1", path: "p"))
        queue.wait(14.9)
        #expect(queue.sentIDs == ["r", "r", "r"])
        queue.wait(0.1)
        #expect(queue.sentIDs == ["r", "r", "r", "b1"])
        #expect(queue.machine.counters.repliesDroppedUnanswered == 1)
    }

    @Test("a reply does not follow a newer message that took an older one's place before it", arguments: [true, false])
    func overtakenReply(isParked: Bool) {
        var queue = TestQueue { $0.window = 1 }
        if isParked { queue.cloud(Lines.ack("n", "x", "1", "x"), Lines.ack("n", "y", "1", "y")) }
        if isParked { queue.cloud(Lines.ack("n", "a", "5", "a5")) }
        queue.connect("n")
        if !isParked { queue.cloud(Lines.ack("n", "x", "1", "x"), Lines.ack("n", "a", "5", "a5")) }
        queue.cloud(
            Lines.ack("n", "a", "5", "older", reply: true), Lines.ack("n", "a", "8", "newer", reply: true), Lines.ack("n", "a", "7", "a7"))
        #expect(queue.machine.counters.repliesOvertaken == 1)
        for id in ["x", "y", "a7", "newer"] { queue.acknowledge("n", id) }
        #expect(queue.sentIDs == (isParked ? ["x", "y", "a7", "newer"] : ["x", "a7", "newer"]))
    }

    @Test("no reply follows the deletion of its object that came after it")
    func overtakenByDelete() {
        var queue = TestQueue { $0.window = 1 }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "x", "1", "x"), Lines.ack("n", "a", "5", "a5"))
        queue.cloud(Lines.ack("n", "a", "9", "reply", reply: true), Lines.delete("n", "a", "gone"))
        queue.acknowledge("n", "x")
        queue.acknowledge("n", "gone")
        #expect(queue.sentIDs == ["x", "gone"])
    }

    @Test("a refused reply is dropped")
    func replyRefused() {
        var queue = TestQueue()
        queue.connect("n")
        queue.cloud(Lines.ack("n", "a", "5", "r", reply: true))
        queue.refuse("n", "r")
        queue.wait(60)
        #expect(queue.sentIDs == ["r"])
        #expect(queue.machine.counters.repliesRefused == 1)
    }

    @Test("a reply waits for an older message of its path, also while that lies on disk")
    func replyBehindBacklog() {
        var queue = TestQueue { $0.window = 2 }
        for number in 1...20 { queue.cloud(Lines.ack("n", "k\(number)", "1", "m\(number)")) }
        queue.connect("n")
        queue.cloud(Lines.ack("n", "k15", "2", "late", path: "default/configmap/k15", reply: true))
        queue.cloud(Lines.ack("n", "else", "2", "soon", path: "else", reply: true))
        for number in 1...20 { queue.acknowledge("n", "m\(number)", "soon") }
        queue.acknowledge("n", "late")
        let late = queue.sentIDs.firstIndex(of: "late") ?? -1
        #expect(late > queue.sentIDs.firstIndex(of: "m15") ?? .max)
        #expect(queue.sentIDs.firstIndex(of: "soon") ?? .max < late)
        #expect(queue.sentIDs.count == 22)
    }

    // MARK: once

    @Test("a once line goes to whom is online and to nobody else")
    func once() {
        var queue = TestQueue()
        queue.cloud(Lines.once("n"))
        queue.connect("n", 7)
        queue.cloud(Lines.once("n"))
        queue.disconnect("n", 7)
        queue.cloud(Lines.once("n"))
        #expect(queue.forwarded == [7])
        #expect(queue.machine.counters.onceDroppedOffline == 2)
    }

    @Test("the deletion of a node forgets everything of it", arguments: [true, false])
    func forgetNode(isOnline: Bool) {
        var queue = TestQueue()
        queue.connect("n", 4)
        queue.connect("m", 5)
        queue.cloud(Lines.ack("n", "a", "5", "a5"), Lines.ack("m", "a", "5", "m5"))
        queue.acknowledge("n", "a5")
        queue.acknowledge("m", "m5")
        queue.cloud(Lines.ack("n", "b", "1", "b1"), Lines.ack("m", "b", "1", "mb"))
        if !isOnline { queue.disconnect("n", 4) }
        queue.cloud(Lines.once("n", operation: "delete", path: "default/node/n"))
        #expect(queue.closed == [isOnline ? 4 : nil])
        #expect(queue.disk.nodes.values.sorted() == ["m"])
        #expect(queue.pendingKeys == ["b"])
        #expect(queue.disk.acknowledged.count == 1)
        #expect(queue.forwarded.isEmpty)
        // A node of that name begins anew.
        queue.connect("n", 1)
        queue.cloud(Lines.ack("n", "a", "1", "anew"))
        #expect(queue.sentIDs.last == "anew")
    }

    @Test("the deletion of a node that was never heard of closes it all the same")
    func forgetUnknown() {
        var queue = TestQueue()
        queue.cloud(Lines.once("n", operation: "delete", path: "default/node/n"))
        #expect(queue.closed == [nil])
        #expect(queue.disk.nodes.isEmpty)
    }

    @Test(
        "other once lines delete no node",
        arguments: [
            Lines.once("n", operation: "update", path: "default/node/n"), Lines.once("n", operation: "delete", path: "default/node/m"),
            Lines.once("n", operation: "delete", source: "x", path: "default/node/n"),
            Lines.once("n", operation: "delete", path: "default/nodes/n"), Lines.once("n", operation: "delete", path: "a/default/node/n"),
        ])
    func keepNode(_ line: String) {
        var queue = TestQueue()
        queue.connect("n", 4)
        queue.cloud(line)
        #expect(queue.closed.isEmpty)
        #expect(queue.forwarded == [4])
    }
}
