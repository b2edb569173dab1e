import Testing

@testable import HubMessage

private func rewritten(_ text: String, _ body: (Line, inout [UInt8]) -> Void) throws -> String {
    try withLine(text) { line in
        var output: [UInt8] = []
        body(line, &output)
        return String(decoding: output, as: UTF8.self)
    }
}

@Suite("Rewriting a line")
struct RewriteTests {
    @Test("to inner form adds the envelope and cuts the prefix")
    func inner() throws {
        let text = #"{ "header":{}, "route":{"resource":"node/n/a/b/c"}, "content": { "x" : 1.0e5 } }"#
        let result = try rewritten(text) { line, output in
            line.appendInner(cuttingResource: 7, to: &output, envelopeOfAtMost: 21) { $0.append(#""hub":{"kind":"once"}"#) }
        }
        #expect(result == #"{"hub":{"kind":"once"}, "header":{}, "route":{"resource":"a/b/c"}, "content": { "x" : 1.0e5 } }"# + "\n")
    }

    @Test("cuts a prefix that is written with escapes")
    func escapedPrefix() throws {
        let text = #"{"header":{},"route":{"resource":"n\u006fde\/n\/a/b"}}"#
        let result = try rewritten(text) { $0.appendFrame(cuttingResource: 7, to: &$1) }
        #expect(result == #"{"header":{},"route":{"resource":"a/b"}}"# + "\n")
    }

    @Test("to a frame removes the envelope alone")
    func frame() throws {
        let text = #"{"hub":{"kind":"ack","object":{"a":[1,{}]}},"header":{},"route":{"resource":"a"},"content":[ 1 ]}"#
        #expect(try rewritten(text) { $0.appendFrame(to: &$1) } == #"{"header":{},"route":{"resource":"a"},"content":[ 1 ]}"# + "\n")
    }

    @Test("sets the session, also where there was one")
    func session() throws {
        let without = #"{"hub":{"kind":"ack"},"header":{},"route":{}}"#
        #expect(
            try rewritten(without) { $0.appendWithSession(7, to: &$1) } == #"{"hub":{"session":7,"kind":"ack"},"header":{},"route":{}}"#
                + "\n")
        let with = #"{"hub":{"kind":"ack","session":123,"node":"n"},"header":{},"route":{}}"#
        #expect(
            try rewritten(with) { $0.appendWithSession(7, to: &$1) }
                == #"{"hub":{"kind":"ack","session":7,"node":"n"},"header":{},"route":{}}"# + "\n")
    }

    @Test(
        "to plain form sets destination and prefix wherever they stand",
        arguments: [
            (#"{"resource":"a"}"#, #"{"destination":"m","resource":"node/n/a"}"#),
            (#"{"destination":"x","resource":"a"}"#, #"{"destination":"m","resource":"node/n/a"}"#),
            (#"{"resource":"a","destination":null}"#, #"{"resource":"node/n/a","destination":"m"}"#),
            (#"{}"#, #"{"destination":"m","resource":"node/n/"}"#), (#"{ }"#, #"{"destination":"m","resource":"node/n/" }"#),
            (#"{"resource":null,"source":"s"}"#, #"{"destination":"m","resource":"node/n/","source":"s"}"#),
            (#"{"source":"s"}"#, #"{"destination":"m","resource":"node/n/","source":"s"}"#),
            (#"{"resource":""}"#, #"{"destination":"m","resource":"node/n/"}"#),
        ])
    func plain(_ route: String, _ expected: String) throws {
        let text = #"{"hub":{"kind":"up"},"header":{},"route":\#(route),"content":1}"#
        let result = try rewritten(text) { line, output in
            unsafe Array("n".utf8).withUnsafeBytes { unsafe line.appendPlain(destination: "m", ofNode: $0, to: &output) }
        }
        #expect(result == #"{"header":{},"route":\#(expected),"content":1}"# + "\n")
    }

    @Test("an event is a message with an envelope")
    func event() throws {
        var event = EventLine(.connected, node: "edge-0", session: 12, messageID: "m", time: 1_795_406_829_541_000)
        event.again = true
        event.parentID = "p"
        event.details = [("remote", "[::1]:5 \"x\"")]
        let text = String(decoding: event.bytes.dropLast(), as: UTF8.self)
        try withLine(text) { line in
            try line.checkEnvelope()
            #expect(line.kind == .event && line.event == .connected && line.index.hub.again && line.index.hub.session == 12)
            #expect(line.string(line.index.header.timestamp) == "1795406829541")
            #expect(line.string(line.index.route.resource) == "node/edge-0")
            let content = unsafe line.raw(line.index.content.value)
            #expect(unsafe ContentMember.string("remote", in: content) == "[::1]:5 \"x\"")
            #expect(unsafe ContentMember.string("event_type", in: content) == "connected")
            #expect(unsafe ContentMember.string("none", in: content) == "")
        }
    }

    @Test("message ids are random UUIDs of version 4")
    func messageID() {
        let ids = (0..<200).map { _ in MessageID.random() }
        #expect(Set(ids).count == 200)
        for id in ids { #expect(id.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil) }
    }
}
