// A timer wheel: setting, moving and firing a timer cost the same for ten nodes and for ten thousand.

/// Slots of ids by due time. An id may be due earlier than its owner wants by now; the owner then inserts it again.
package struct TimerWheel: Sendable {
    private var slots: [[Int]]
    private let width: Int64
    /// The slot index that is due next, counted from time 0.
    private var next: Int64 = 0

    /// - Parameters:
    ///   - span: longest time ahead that a timer is set to, in nanoseconds.
    ///   - width: exactness, in nanoseconds.
    package init(span: Int64, width: Int64) {
        self.width = width
        slots = Array(repeating: [], count: Int(span / width) + 3)
    }

    package mutating func insert(_ id: Int, due: Int64) {
        let slot = max(next, (due + width - 1) / width)
        slots[Int(slot % Int64(slots.count))].append(id)
    }

    /// Takes out all ids that are due at `now`.
    package mutating func expire(now: Int64, _ body: (Int) -> Void) {
        // More than one turn behind: each slot is due once.
        let last = now / width
        if last - next >= Int64(slots.count) { next = last - Int64(slots.count) + 1 }
        while next <= last {
            let slot = Int(next % Int64(slots.count))
            next += 1
            let due = slots[slot]
            slots[slot] = []
            for id in due { body(id) }
        }
    }
}
