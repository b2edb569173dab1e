// The other end of a flood: does every message of every node arrive once, in order?

package import HubMessage

/// Reads plain lines that came up, and checks the `seq` of their contents per node.
package struct SequenceCheck: Sendable {
    /// Most nodes that are told apart; lines of further ones are only counted.
    package static let maxNodes = 1 << 20

    package struct Counts: Sendable, Equatable {
        /// Lines with a sequence number.
        package var messages = 0
        package var nodes = 0
        /// Lines without one: events and other messages.
        package var others = 0
        /// Numbers that had not come when a higher one of their node came. Less those in `disordered`, they are lost.
        package var missing = 0
        /// Messages that came after a higher number of their node: late, or a second time.
        package var disordered = 0
        /// Lines of nodes beyond the limit.
        package var untracked = 0
        /// From `sent` to the reading of the line, in microseconds.
        package var latency = LatencyHistogram()
    }

    package private(set) var counts = Counts()
    private var next: [[UInt8]: Int64] = [:]

    package init() {}

    /// - Parameter now: microseconds since 1970.
    package mutating func take(_ line: Line, now: Int64) {
        guard line.index.content.value.isPresent, let sequence = unsafe NumberMember.find("seq", in: line.raw(line.index.content.value)),
            let node = nodeName(line)
        else {
            counts.others += 1
            return
        }
        counts.messages += 1
        if let sent = unsafe NumberMember.find("sent", in: line.raw(line.index.content.value)) { counts.latency.record(now - sent) }
        guard let expected = next[node] else {
            guard next.count < Self.maxNodes else {
                counts.untracked += 1
                return
            }
            counts.nodes += 1
            counts.missing += Int(sequence)
            next[node] = sequence + 1
            return
        }
        if sequence >= expected {
            counts.missing += Int(sequence - expected)
            next[node] = sequence + 1
        } else {
            counts.disordered += 1
        }
    }

    /// The node of an inner line, else the segment after `node/` at the front of the resource.
    private func nodeName(_ line: Line) -> [UInt8]? {
        if line.index.hub.node.count > 0 { return line.value(line.index.hub.node) }
        return unsafe line.withValue(line.index.route.resource) { resource in
            guard unsafe resource.starts(with: "node/".utf8) else { return nil }
            return unsafe Array(resource.dropFirst(5).prefix { $0 != 0x2f })
        }
    }
}
