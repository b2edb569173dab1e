// What leaves when, without a socket.

internal import HubServe
internal import NIOCore
internal import Testing

@Suite("OutboundQueue")
struct OutboundQueueTests {
    private func next(_ queue: inout OutboundQueue, _ limit: Int = 1000) -> String? {
        queue.next(limit: limit).map { String(buffer: $0) }
    }

    private func add(_ queue: inout OutboundQueue, _ text: String, id: UInt64) -> Bool {
        queue.add(ByteBuffer(string: text), id: id)
    }

    @Test("frames leave in their order, many as one buffer")
    func order() {
        var queue = OutboundQueue()
        for text in ["a", "b", "c"] { #expect(add(&queue, text, id: 0)) }
        #expect(queue.unsent == 3)
        #expect(next(&queue) == "abc")
        #expect(next(&queue) == nil)
        #expect(queue.unsent == 3)
        #expect(!queue.isEmpty)
        let left = queue.left()
        #expect(left == 3)
        #expect(queue.unsent == 0)
        #expect(queue.isEmpty)
    }

    @Test("a frame larger than the limit leaves in pieces, and control frames wait for its end")
    func pieces() {
        var queue = OutboundQueue()
        _ = add(&queue, "0123456789", id: 0)
        #expect(next(&queue, 4) == "0123")
        queue.add(ping: ByteBuffer(string: "<ping>"))
        queue.add(pong: ByteBuffer(string: "<old pong>"))
        queue.add(pong: ByteBuffer(string: "<pong>"))
        _ = add(&queue, "ab", id: 0)
        #expect(next(&queue, 4) == "4567")
        #expect(next(&queue, 4) == "89<pong><ping>ab")
        let left = (0..<3).map { _ in queue.left() }
        #expect(left == [4, 4, 4])
        #expect(queue.isEmpty)
    }

    @Test("an id that has not left is not taken again; afterwards it is")
    func duplicates() {
        var queue = OutboundQueue()
        #expect(add(&queue, "a", id: 7))
        #expect(!add(&queue, "a", id: 7))
        #expect(add(&queue, "x", id: 0))
        #expect(add(&queue, "y", id: 0))
        #expect(next(&queue) == "axy")
        #expect(!add(&queue, "a", id: 7))
        queue.left()
        #expect(add(&queue, "a", id: 7))
    }

    @Test("the close frame follows the frame that has begun, and nothing follows it")
    func closing() {
        var queue = OutboundQueue()
        _ = add(&queue, "abcdef", id: 1)
        _ = add(&queue, "dropped", id: 2)
        #expect(next(&queue, 3) == "abc")
        queue.add(ping: ByteBuffer(string: "<ping>"))
        queue.close(ByteBuffer(string: "<close>"), flushing: false)
        queue.close(ByteBuffer(string: "<second>"), flushing: false)
        #expect(!add(&queue, "late", id: 3))
        queue.add(pong: ByteBuffer(string: "<pong>"))
        #expect(next(&queue) == "def<close>")
        #expect(next(&queue) == nil)
        queue.left()
        queue.left()
        #expect(queue.isEmpty)
        #expect(queue.unsent == 0)
    }

    @Test("when flushing, the close frame follows all that waits")
    func flushing() {
        var queue = OutboundQueue()
        _ = add(&queue, "abc", id: 1)
        _ = add(&queue, "def", id: 2)
        queue.close(ByteBuffer(string: "<close>"), flushing: true)
        #expect(next(&queue, 3) == "abc")
        #expect(next(&queue) == "def<close>")
    }
}

@Suite("PartialBudget")
struct PartialBudgetTests {
    private func update(_ budget: inout PartialBudget, _ connection: Int, _ size: Int) -> Int? {
        budget.update(connection, size: size)
    }

    @Test("past the limit the largest goes, whoever exceeded it, and counts no more")
    func largest() {
        var budget = PartialBudget(limit: 100)
        #expect(update(&budget, 1, 60) == nil)
        #expect(update(&budget, 2, 40) == nil)
        #expect(update(&budget, 3, 1) == 1)
        #expect(budget.total == 41)
        #expect(update(&budget, 1, 0) == nil)
        #expect(budget.total == 41)
        #expect(update(&budget, 2, 0) == nil)
        #expect(update(&budget, 3, 101) == 3)
        #expect(budget.total == 0)
    }
}
