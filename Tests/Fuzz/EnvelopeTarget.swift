// Lines in inner form: the check of the envelope, the session that hub-queue sets, the frame that hub-wsserve sends.
//
// Checked for every input: with another session the same line comes back, checked and with that session; the frame has no envelope and
// the same header, route and content; what hub-wsserve takes from its input is for the node of the envelope.

internal import HubMessage
internal import HubServe

struct EnvelopeTarget: FuzzTarget {
    static let name = "envelope"
    static let summary = "checkEnvelope, appendWithSession, the line that hub-wsserve reads"
    static let maxLength = 4096

    func run(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.contains(0x0a), let line = try? unsafe Line.scan(bytes), line.isInner else { return }
        guard (try? line.checkEnvelope()) != nil else { return }
        let hub = line.index.hub
        if hub.kind.isPresent {
            let session: Int64 = (1 << 53) - Int64(bytes.count)
            var output: [UInt8] = []
            line.appendWithSession(session, to: &output)
            requireLine(output, "with session") { rewritten in
                require((try? rewritten.checkEnvelope()) != nil, "with session: the envelope is refused")
                require(rewritten.index.hub.session == session, "with session: another session")
                Self.requireSame(line, rewritten, "with session")
                for (before, after) in [
                    (hub.kind, rewritten.index.hub.kind), (hub.node, rewritten.index.hub.node), (hub.key, rewritten.index.hub.key),
                    (hub.version, rewritten.index.hub.version), (hub.object, rewritten.index.hub.object),
                ] {
                    require(line.value(before) == rewritten.value(after), "with session: the envelope has changed")
                }
            }
        }
        var output: [UInt8] = []
        line.appendFrame(to: &output)
        requireLine(output, "frame") { frame in
            require(!frame.isInner, "frame: it has an envelope")
            Self.requireSame(line, frame, "frame")
        }
        var scratch: [UInt8] = []
        if case .message(let node, let session, _, _, _) = DownstreamLine(line, scratch: &scratch) {
            require(Array(node.utf8) == line.value(hub.node) && session == hub.session, "hub-wsserve: another node or session")
        }
    }

    private static func requireSame(_ before: Line, _ after: Line, _ what: String) {
        let (old, new) = (before.index, after.index)
        for (one, other) in [
            (old.header.messageID, new.header.messageID), (old.header.parentID, new.header.parentID),
            (old.route.resource, new.route.resource), (old.route.operation, new.route.operation), (old.route.source, new.route.source),
        ] {
            require(before.value(one) == after.value(other), "\(what): header or route has changed")
        }
        require(
            unsafe [UInt8](before.raw(old.content.value)) == [UInt8](after.raw(new.content.value)), "\(what): the content has changed")
    }

    func seeds(_ lines: [[UInt8]]) -> [[UInt8]] {
        let envelopes = [
            #""kind":"up","node":"edge-0","session":7"#, #""kind":"once","node":"edge-0""#,
            #""kind":"ack","node":"edge-0","key":"u","version":"10","force":true,"reply":true,"object":{"kind":"Pod"}"#,
            #""session":1,"kind":"ack","node":"edge-0","key":"u","version":"10""#,
            #""kind":"event","node":"edge-0","session":7,"event":"connected","again":true"#, #""kind":"event","event":"who""#,
            #""kind":"event","event":"close","node":"edge-0","reason":"r""#, #""kind":"event","event":"live""#,
        ]
        return lines.filter { $0.first == 0x7b && $0.count > 1 }.enumerated().map { number, line in
            Array("{\"hub\":{\(envelopes[number % envelopes.count])},".utf8) + line.dropFirst()
        }
    }
}
