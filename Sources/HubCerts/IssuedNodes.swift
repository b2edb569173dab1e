// The nodes that have a certificate, and how often each of them got one lately.

/// A table that grows with the number of nodes, up to a bound, and not with the number of signatures.
package struct IssuedNodes: Sendable {
    package enum Verdict: Sendable, Equatable {
        case allowed
        /// The table is full, and this node is new.
        case full
        /// The node got its share; seconds until it gets more.
        case tooOften(Int64)
    }

    private struct Window {
        var start: Int64
        var count: Int
    }

    private static let length: Int64 = 60

    private let capacity: Int
    private let perMinute: Int
    /// A node without an entry in its window has got nothing since the start.
    private var nodes: [String: Window] = [:]

    /// - Parameters:
    ///   - capacity: nodes that may ever have got a certificate.
    ///   - perMinute: certificates for one node within a minute.
    package init(capacity: Int, perMinute: Int) {
        self.capacity = capacity
        self.perMinute = perMinute
    }

    package var count: Int { nodes.count }

    package func contains(_ node: String) -> Bool { nodes[node] != nil }

    /// Takes over a node from the records of an earlier run.
    package mutating func restore(_ node: String) {
        if nodes[node] == nil { nodes[node] = Window(start: 0, count: 0) }
    }

    /// Counts one signature for `node`, if it is allowed.
    /// - Parameter now: seconds since 1970; a clock that is put back starts every window anew.
    package mutating func admit(_ node: String, now: Int64) -> Verdict {
        guard var window = nodes[node] else {
            guard nodes.count < capacity else { return .full }
            nodes[node] = Window(start: now, count: 1)
            return .allowed
        }
        if window.count == 0 || !(0..<Self.length).contains(now - window.start) { window = Window(start: now, count: 0) }
        guard window.count < perMinute else { return .tooOften(max(1, window.start + Self.length - now)) }
        window.count += 1
        nodes[node] = window
        return .allowed
    }
}
