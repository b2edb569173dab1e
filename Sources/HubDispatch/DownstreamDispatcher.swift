// `hub-dispatch down`: finds the node of a controller's message, decides its lane, and adds the envelope.
// Rules: design "hub-dispatch", 1 to 6, after KubeEdge v1.23.1 message_dispatcher.go (GetNodeID, IsToEdge, noAckRequired).
// Differs from KubeEdge: names match whole segments at their position, and what KubeEdge drops in silence is refused with a reason.

package import HubMessage

/// Routes one line at a time; it remembers nothing but counts.
package struct DownstreamDispatcher: Sendable {
    package enum Outcome: Sendable, Equatable {
        case forwarded
        /// A message between cloud modules, not for edges.
        case skipped
        case refused(String)
    }

    package struct Counters: Sendable, Equatable {
        package var ack = 0
        package var once = 0
        package var inner = 0
        package var skipped = 0
        package var refused = 0
    }

    package private(set) var counters = Counters()

    package init() {}

    /// Appends the inner form of `line` to `output`, or says why not.
    package mutating func dispatch(_ line: Line, to output: inout [UInt8]) -> Outcome {
        let outcome = line.isInner ? passInner(line, &output) : route(line, &output)
        switch outcome {
        case .forwarded: break
        case .skipped: counters.skipped += 1
        case .refused: counters.refused += 1
        }
        return outcome
    }

    private mutating func passInner(_ line: Line, _ output: inout [UInt8]) -> Outcome {
        do throws(MessageError) { try line.checkEnvelope() } catch { return .refused(error.description) }
        line.appendUnchanged(to: &output)
        counters.inner += 1
        return .forwarded
    }

    private mutating func route(_ line: Line, _ output: inout [UInt8]) -> Outcome {
        unsafe line.withValue(line.index.route.resource) { resource in
            let message = unsafe DownstreamMessage(line, resource)
            guard !message.path.node.isEmpty else { return .refused("the resource names no node") }
            guard message.hasValidNode else { return .refused("the node's name is no RFC 1123 subdomain") }
            if message.isForCloud { return .skipped }
            if message.isOnce {
                counters.once += 1
                message.appendOnce(to: &output)
                return .forwarded
            }
            if let reason = message.reasonToRefuse { return .refused(reason) }
            counters.ack += 1
            message.appendAck(to: &output)
            return .forwarded
        }
    }
}
