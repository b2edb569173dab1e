// Frames to lines, and lines to frames.

internal import HubMessage
internal import HubServe
internal import NIOCore
internal import Testing

@Suite("UpstreamFrame")
struct UpstreamFrameTests {
    private func finish(_ payload: String) -> (outcome: UpstreamFrame.Outcome, line: String) {
        finish(Array(payload.utf8))
    }

    private func finish(_ payload: [UInt8]) -> (outcome: UpstreamFrame.Outcome, line: String) {
        var lines = Array("before\n".utf8)
        lines += UpstreamFrame.prefix(node: "edge-0", session: 12)
        let body = lines.count
        lines += payload
        let outcome = UpstreamFrame.finish(&lines, body: body, time: 1_700_000_000_123_456)
        return (outcome, String(decoding: lines.dropFirst(7), as: UTF8.self))
    }

    @Test("the envelope comes first, and every byte of the message stays")
    func line() {
        let (outcome, line) = finish(#"{"header":{"msg_id":"é"},"route":{},"content": [ 1.50 , "\u00e9" ]}"# + "\n")
        #expect(outcome == .line)
        #expect(
            line
                == #"{"hub":{"kind":"up","node":"edge-0","session":12},"header":{"msg_id":"é"},"route":{},"content": [ 1.50 , "\u00e9" ]}"#
                + "\n")
    }

    @Test("indented JSON becomes one line")
    func indented() throws {
        let (outcome, line) = finish(" \n{\n  \"header\": {},\r\n  \"route\": {}\n}\n \r\n")
        #expect(outcome == .line)
        #expect(line.utf8.count { $0 == 0x0a } == 1)
        #expect(line.hasSuffix("}\n"))
        try unsafe Array(line.utf8.dropLast()).withUnsafeBytes { try unsafe Line.scan($0).checkEnvelope() }
    }

    @Test(
        "JSON that is no message is refused, a forged envelope is known as one",
        arguments: [
            ("[]", false), ("1", false), ("null", false), ("{}", false), (#"{"header":{}}"#, false), (#"{"header":{},"route":[]}"#, false),
            (#"{"header":{},"route":{},"route":{}}"#, false), (#"{"hub":{"kind":"up"},"header":{},"route":{}}"#, true),
            (#"{"hub":{},"header":{},"route":{}}"#, true), (#"{"header":{},"hub":{},"route":{}}"#, true),
            (#"{"hub":7,"header":{},"route":{}}"#, true),
            (#"{"\u0068ub":{},"header":{},"route":{}}"#, true),
        ])
    func refused(payload: String, isForged: Bool) {
        guard case .refused(_, isForged) = finish(payload).outcome else {
            Issue.record("not refused: \(finish(payload).outcome)")
            return
        }
    }

    @Test(
        "what is no JSON is invalid, also behind a member that would only be refused",
        arguments: ["", " ", "{", "{}}", "nul", #"{"header":1,}"#, #"{"hub":{},"#, "{} {}"])
    func invalid(payload: String) {
        #expect(finish(payload).outcome == .invalid)
    }

    @Test("text that is not UTF-8 is invalid")
    func notUTF8() {
        #expect(finish(Array(#"{"header":{},"route":{},"content":""#.utf8) + [0xc0, 0x80] + Array("\"}".utf8)).outcome == .invalid)
    }

    @Test("ping, pong and config are answered as KubeEdge answers them", arguments: ["ping", "pong", "config"])
    func questions(operation: String) throws {
        let (outcome, _) = finish(
            #"{"header":{"msg_id":"q\"1"},"route":{"source":"edged","group":"meta","operation":"\#(operation)","resource":"x/y"},"content":"p"}"#
        )
        guard case .answer(let payload) = outcome else {
            Issue.record("no answer")
            return
        }
        try unsafe payload.dropLast().withUnsafeBytes { bytes in
            let line = try unsafe Line.scan(bytes)
            #expect(line.string(line.index.header.parentID) == "q\"1")
            #expect(line.string(line.index.header.messageID).count == 36)
            #expect(line.string(line.index.route.operation) == "response")
            #expect(line.string(line.index.route.source) == "edged")
            #expect(line.string(line.index.route.group) == "meta")
            #expect(line.string(line.index.route.resource) == "x/y")
            #expect(unsafe String(decoding: line.raw(line.index.content.value), as: UTF8.self) == "\"ack\"")
            #expect(unsafe String(decoding: line.raw(line.index.header.timestamp), as: UTF8.self) == "1700000000123")
        }
        #expect(payload.last == 0x0a)
    }
}

@Suite("DownstreamLine")
struct DownstreamLineTests {
    private func parse(_ text: String) throws -> DownstreamLine {
        var scratch: [UInt8] = []
        return try unsafe Array(text.utf8).withUnsafeBytes { bytes in
            DownstreamLine(try unsafe Line.scan(bytes), scratch: &scratch)
        }
    }

    /// The payload of a frame, after its header is checked.
    private func payload(_ frame: ByteBuffer) -> String? {
        var frame = frame
        guard frame.readInteger(as: UInt8.self) == 0x81, let length = frame.readInteger(as: UInt8.self) else { return nil }
        let size: Int? =
            switch length {
            case 126: frame.readInteger(as: UInt16.self).map(Int.init)
            case 127: frame.readInteger(as: UInt64.self).map(Int.init)
            default: Int(length)
            }
        guard size == frame.readableBytes else { return nil }
        return String(buffer: frame)
    }

    @Test("the frame is the line without its envelope", arguments: [1, 100, 200, 70_000])
    func inner(size: Int) throws {
        let rest = #""header":{"msg_id":"m"},"route":{"resource":"node/x/y"},"content":"\#(String(repeating: "c", count: size))"}"#
        guard
            case .message(let node, let session, let isOnce, let id, let frame) = try parse(
                #"{"hub":{"kind":"once","node":"edge-0","session":5},"# + rest)
        else {
            Issue.record("no message")
            return
        }
        #expect((node, session, isOnce) == ("edge-0", 5, true))
        #expect(id != 0)
        #expect(payload(frame) == "{" + rest + "\n")
    }

    @Test("a plain line names its node; only the prefix is cut from its resource")
    func plain() throws {
        for (resource, inner) in [("node/edge-0/default/pod/a", "default/pod/a"), ("upgrade/u/node/edge-0", "upgrade/u/node/edge-0")] {
            guard case .message("edge-0", nil, false, 0, let frame) = try parse(#"{"header":{},"route":{"resource":"\#(resource)"}}"#)
            else {
                Issue.record("no message")
                return
            }
            #expect(payload(frame) == #"{"header":{},"route":{"resource":"\#(inner)"}}"# + "\n")
        }
    }

    @Test("the same msg_id has the same hash, however it is written")
    func hashes() throws {
        func hash(_ id: String) throws -> UInt64 {
            guard case .message(_, _, _, let hash, _) = try parse(#"{"header":{"msg_id":"\#(id)"},"route":{"resource":"node/a/b"}}"#) else {
                return 0
            }
            return hash
        }
        #expect(try hash("abc") == hash(#"\u0061bc"#))
        #expect(try hash("abc") != hash("abd"))
    }

    @Test("who and close are understood, other events and lines from nodes are refused")
    func events() throws {
        let rest = #""header":{"msg_id":"q"},"route":{}}"#
        guard case .who("q") = try parse(#"{"hub":{"kind":"event","event":"who"},"# + rest) else {
            Issue.record("no question")
            return
        }
        guard
            case .close("a", 5, "why") = try parse(
                #"{"hub":{"kind":"event","event":"close","node":"a","session":5,"reason":"why"},"# + rest)
        else {
            Issue.record("no close")
            return
        }
        for hub in [
            #"{"kind":"event","event":"connected","node":"a","session":1}"#, #"{"kind":"up","node":"a","session":1}"#,
            #"{"kind":"once","node":"A"}"#,
            #"{"kind":"ack","node":"a"}"#, #"{"kind":"other","node":"a"}"#,
        ] {
            guard case .refused = try parse(#"{"hub":"# + hub + "," + rest) else {
                Issue.record("taken: \(hub)")
                return
            }
        }
    }

    @Test("where the node stands in a resource")
    func segments() {
        func find(_ resource: String) -> String? {
            DownstreamLine.nodeSegment(of: Array(resource.utf8)).map { "\(String(decoding: $0.node, as: UTF8.self)) \($0.prefix)" }
        }
        #expect(find("node/a/b/c") == "a 7")
        #expect(find("node/a") == "a 0")
        #expect(find("x/node/a/b") == "a 0")
        #expect(find("nodes/a/node/b") == "b 0")
        #expect(find("node/node/x") == "node 10")
        #expect(find("x/y") == nil)
        #expect(find("node") == nil)
        #expect(find("") == nil)
    }
}
