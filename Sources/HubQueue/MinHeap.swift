// A binary heap: the smallest element first.

struct MinHeap<Element: Comparable & Sendable>: Sendable {
    private var elements: [Element] = []

    var first: Element? { elements.first }
    var isEmpty: Bool { elements.isEmpty }
    var count: Int { elements.count }

    mutating func removeAll() { elements = [] }

    @inline(__always) mutating func insert(_ element: Element) {
        elements.append(element)
        var at = elements.count - 1
        while at > 0 {
            let parent = (at - 1) / 2
            guard elements[at] < elements[parent] else { return }
            elements.swapAt(at, parent)
            at = parent
        }
    }

    @inline(__always) mutating func removeFirst() {
        guard let last = elements.popLast(), !elements.isEmpty else { return }
        elements[0] = last
        var at = 0
        while true {
            var smallest = at
            let left = 2 * at + 1
            if left < elements.count, elements[left] < elements[smallest] { smallest = left }
            if left + 1 < elements.count, elements[left + 1] < elements[smallest] { smallest = left + 1 }
            guard smallest != at else { return }
            elements.swapAt(at, smallest)
            at = smallest
        }
    }
}

/// A waiting message by its place in the order of arrival.
struct ReadyMessage: Comparable, Sendable {
    let id: Int64
    let slot: Int32

    static func < (left: ReadyMessage, right: ReadyMessage) -> Bool { left.id < right.id }
}

/// The end of a backoff.
struct BackoffEnd: Comparable, Sendable {
    let time: Int64
    let id: Int64
    let slot: Int32

    static func < (left: BackoffEnd, right: BackoffEnd) -> Bool {
        left.time != right.time ? left.time < right.time : left.id < right.id
    }
}
