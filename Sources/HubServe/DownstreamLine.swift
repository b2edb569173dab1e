// From a line of an input to what the server has to do with it.

package import HubMessage
package import NIOCore

/// One line of an input, understood. A plain line may come as well as an inner one (design: "The line").
package enum DownstreamLine: Sendable {
    /// - frame: a whole WebSocket frame.
    /// - id: hash of the `msg_id`, 0 without one.
    case message(node: String, session: Int64?, isOnce: Bool, id: UInt64, frame: ByteBuffer)
    case who(question: String)
    case close(node: String, session: Int64?, reason: String)
    case refused(String)

    /// - Parameter scratch: working space, emptied first.
    package init(_ line: Line, scratch: inout [UInt8]) {
        guard line.isInner else {
            self = Self.plain(line, &scratch)
            return
        }
        do throws(MessageError) {
            try line.checkEnvelope()
        } catch {
            self = .refused(error.description)
            return
        }
        let hub = line.index.hub
        switch line.kind {
        case .ack, .once:
            self = Self.message(line, node: line.string(hub.node), cut: 0, isOnce: line.kind == .once, &scratch)
        case .event:
            switch line.event {
            case .who: self = .who(question: line.string(line.index.header.messageID))
            case .close:
                let reason = hub.reason.isPresent ? line.string(hub.reason) : "closed"
                self = .close(node: line.string(hub.node), session: hub.session, reason: reason)
            default: self = .refused("event not for the transport")
            }
        default: self = .refused("a line from a node")
        }
    }

    private static func plain(_ line: Line, _ scratch: inout [UInt8]) -> DownstreamLine {
        let resource = line.value(line.index.route.resource)
        guard let (node, cut) = nodeSegment(of: resource) else { return .refused("no node in route.resource") }
        guard NodeName.isValid(node) else { return .refused("not a node name in route.resource") }
        return message(line, node: String(decoding: node, as: UTF8.self), cut: cut, isOnce: false, &scratch)
    }

    /// The segment after the first segment `node`, and the length of the prefix `node/<node>/`, 0 when it is not at the front.
    package static func nodeSegment(of resource: [UInt8]) -> (node: ArraySlice<UInt8>, prefix: Int)? {
        var start = 0
        while let slash = resource[start...].firstIndex(of: 0x2f) {
            if resource[start..<slash].elementsEqual("node".utf8) {
                let rest = resource[(slash + 1)...]
                let end = rest.firstIndex(of: 0x2f)
                return (rest[..<(end ?? rest.endIndex)], start == 0 ? end.map { $0 + 1 } ?? 0 : 0)
            }
            start = slash + 1
        }
        return nil
    }

    private static func message(_ line: Line, node: String, cut: Int, isOnce: Bool, _ scratch: inout [UInt8]) -> DownstreamLine {
        scratch.removeAll(keepingCapacity: true)
        line.appendFrame(cuttingResource: cut, to: &scratch)
        let id = line.index.header.messageID
        let hash: UInt64 =
            id.count == 0
            ? 0
            : unsafe line.withValue(id) { bytes in
                var hasher = Hasher()
                unsafe hasher.combine(bytes: bytes)
                return UInt64(bitPattern: Int64(hasher.finalize())) | 1
            }
        return .message(
            node: node, session: line.index.hub.session, isOnce: isOnce, id: hash, frame: ServerFrame.text(scratch))
    }
}
