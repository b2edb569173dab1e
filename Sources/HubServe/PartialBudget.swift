// The common bound of all unfinished messages (design: "hub-wsserve", rule 3).

/// How many bytes of unfinished messages each connection holds.
package struct PartialBudget: Sendable {
    private let limit: Int
    private var sizes: [Int: Int] = [:]
    package private(set) var total = 0

    package init(limit: Int) { self.limit = limit }

    /// The unfinished message of `connection` now has `size` bytes; 0 when there is none.
    /// - Returns: the connection to close: the one with the most, once all together exceed the limit. It counts no more from then on.
    package mutating func update(_ connection: Int, size: Int) -> Int? {
        total += size - (sizes[connection] ?? 0)
        sizes[connection] = size == 0 ? nil : size
        guard total > limit, let largest = sizes.max(by: { $0.value < $1.value }) else { return nil }
        total -= largest.value
        sizes[largest.key] = nil
        return largest.key
    }
}
