// A first-in-first-out queue of node numbers: who is next when nodes take turns.

struct Turns: Sendable {
    private var items: [Int32] = []
    private var start = 0

    var isEmpty: Bool { start == items.count }

    @inline(__always) mutating func append(_ node: Int32) { items.append(node) }

    @inline(__always) mutating func popFirst() -> Int32? {
        guard start < items.count else { return nil }
        let node = items[start]
        start += 1
        if start == items.count {
            items.removeAll(keepingCapacity: true)
            start = 0
        } else if start > 1024, start > items.count / 2 {
            items.removeFirst(start)
            start = 0
        }
        return node
    }
}
