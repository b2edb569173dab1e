import HubMessage
import NIOCore
import Testing

@testable import HubSwarm

/// Scans `text` and calls `body` with the line.
func withLine<Result>(_ text: String, _ body: (Line) throws -> Result) throws -> Result {
    let bytes = Array(text.utf8)
    return try unsafe bytes.withUnsafeBytes { try body(try unsafe Line.scan($0)) }
}

@Suite("Messages of an edge")
struct EdgeMessageTests {
    /// What KubeEdge's edge answered to `received`, as recorded.
    private static let received = #"""
        {"header":{"msg_id":"019e5e81-f938-448c-a1e8-1a023a01657c","timestamp":1795406829541,"resourceversion":"10"},"route":{"source":"edgecontroller","group":"resource","operation":"update","resource":"default/configmap/cm-a"},"content":{"apiVersion":"v1","kind":"ConfigMap"}}
        """#
    private static let recorded = #"""
        {"header":{"msg_id":"a8e60de8-fb22-4bd2-bd6f-aa5e727ac8fc","parent_msg_id":"019e5e81-f938-448c-a1e8-1a023a01657c","timestamp":1795406829543},"route":{"source":"edgecontroller","group":"resource","operation":"response","resource":"default/configmap/cm-a"},"content":"OK"}
        """#

    /// `text` with the first id replaced, because ids are random.
    private static func withID(of other: String, _ text: String) -> String {
        let start = #"{"header":{"msg_id":""#.count
        return String(text.prefix(start)) + String(other.dropFirst(start).prefix(36)) + String(text.dropFirst(start + 36))
    }

    @Test("an acknowledgement has the recorded bytes")
    func acknowledgement() throws {
        var random = FastRandom()
        var buffer = ByteBuffer()
        try withLine(Self.received) { EdgeMessage.writeAnswer($0, &random, now: 1_795_406_829_543, to: &buffer) }
        let written = String(buffer: buffer)
        #expect(written == Self.withID(of: written, Self.recorded) + "\n")
        let id = Array(written.dropFirst(21).prefix(36).utf8)
        #expect(id[14] == 0x34, "version 4")
        #expect("89ab".utf8.contains(id[19]), "variant of RFC 9562")
    }

    @Test("a keepalive has the recorded bytes")
    func keepalive() {
        let recorded = #"""
            {"header":{"msg_id":"5cd6e7b5-c046-491a-9f7d-1801cc748a8a","timestamp":1795406828618},"route":{"source":"websocket","group":"resource","operation":"keepalive","resource":"node"},"content":"ping"}
            """#
        var random = FastRandom()
        var buffer = ByteBuffer()
        EdgeMessage.writeKeepalive(&random, now: 1_795_406_828_618, to: &buffer)
        let written = String(buffer: buffer)
        #expect(written == Self.withID(of: written, recorded) + "\n")
    }

    @Test("a refusal is an error with the same parent, and escapes stay as they came")
    func refusal() throws {
        let line = #"{"header":{"msg_id":"a\"b"},"route":{"operation":"update","resource":"default/x\\y"}}"#
        var random = FastRandom()
        var buffer = ByteBuffer()
        try withLine(line) { EdgeMessage.writeAnswer($0, isRefusal: true, &random, now: -5, to: &buffer) }
        let written = String(buffer: buffer)
        #expect(
            written.contains(#""parent_msg_id":"a\"b","timestamp":-5},"route":{"operation":"error","resource":"default/x\\y"},"content":"#))
        try withLine(String(written.dropLast())) { #expect($0.string($0.index.header.parentID) == #"a"b"#) }
    }

    @Test(
        "acknowledged is what an EdgeCore acknowledges",
        arguments: [
            (#""group":"resource","operation":"insert","resource":"default/pod/a"},"content":{}"#, true),
            (#""group":"resource","operation":"update","resource":"default/pod/a"},"content":{}"#, true),
            (#""group":"resource","operation":"delete","resource":"default/pod/a"},"content":{}"#, true),
            (#""group":"resource","operation":"response","resource":"default/pod/a"},"content":{}"#, true),
            (#""group":"resource","operation":"response","resource":"default/event"},"content":{}"#, true),
            (#""group":"resource","operation":"response","resource":"default/podstatus/a"},"content":"OK""#, false),
            (#""group":"resource","operation":"update","resource":"default/event/a"},"content":{}"#, false),
            (#""group":"resource","operation":"update","resource":"default/event"},"content":{}"#, false),
            (#""group":"resource","operation":"update","resource":"default/events/a"},"content":{}"#, true),
            (#""group":"resource","operation":"query","resource":"default/pod/a"},"content":{}"#, false),
            (#""group":"twin","operation":"update","resource":"default/pod/a"},"content":{}"#, false),
        ])
    func rule(rest: String, expected: Bool) throws {
        try withLine(#"{"header":{"msg_id":"1"},"route":{"source":"edgecontroller","# + rest + "}") {
            #expect(EdgeMessage.isAcknowledged($0) == expected)
        }
    }

    @Test("a pod status is a message of the wanted size with its number", arguments: [0, 400, 1024, 70_000])
    func podStatus(size: Int) throws {
        var random = FastRandom()
        var buffer = ByteBuffer()
        EdgeMessage.writePodStatus(node: "edge-7", sequence: 41, size: size, &random, now: 1_795_406_829_543_210, to: &buffer)
        if size >= 400 { #expect(buffer.readableBytes == size) }
        try withLine(String(String(buffer: buffer).dropLast())) { line in
            #expect(line.string(line.index.route.resource) == "default/podstatus/pod-edge-7")
            #expect(unsafe NumberMember.find("seq", in: line.bytes) == 41)
            #expect(unsafe NumberMember.find("sent", in: line.bytes) == 1_795_406_829_543_210)
        }
    }

    @Test(
        "the number is found as number or string, and nothing else",
        arguments: [
            (#"{"sent":12}"#, 12), (#"{"data":{"sent":"1795"},"b":1}"#, 1795), (#"{"sent": 7}"#, 7), (#"{"xsent":5,"sent":6}"#, 6),
            (#"{"sent":"x","sent":8}"#, 8), (#"{"sent":-1}"#, nil), (#"{"sent"}"#, nil), (#"{"a":":"}"#, nil), ("", nil),
            (#"sent":3"#, nil),
            (#""sent":"#, nil), (#"{"sent":99999999999999999999}"#, 999_999_999_999_999_999),
        ] as [(String, Int64?)])
    func numbers(text: String, expected: Int64?) {
        let bytes = Array(text.utf8)
        #expect(unsafe bytes.withUnsafeBytes { unsafe NumberMember.find("sent", in: $0) } == expected)
    }
}
