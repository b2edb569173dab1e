import Testing

@testable import HubMessage

/// Calls `body` with a scanned line.
func withLine<Result>(_ text: String, _ body: (Line) throws -> Result) throws -> Result {
    unsafe try Array(text.utf8).withUnsafeBytes { bytes in try unsafe body(Line.scan(bytes)) }
}

func scanError(_ text: some Collection<UInt8>) -> MessageError? {
    unsafe Array(text).withUnsafeBytes { bytes in
        do throws(MessageError) {
            _ = try unsafe Line.scan(bytes)
            return nil
        } catch { return error }
    }
}

private let plain =
    #"{"header":{"msg_id":"m1","parent_msg_id":"p1","timestamp":1795406829541,"resourceversion":"10","sync":true,"type":"t"},"#
    + #""route":{"source":"edgecontroller","destination":"d","group":"resource","operation":"update","resource":"node/edge-0/default/configmap/cm"},"#
    + #""content":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm","uid":"u1","deletionTimestamp":"2026-01-01T00:00:00Z"}}}"#

@Suite("A line")
struct LineTests {
    @Test("gives the place of every member that a stage reads")
    func members() throws {
        try withLine(plain) { line in
            let index = line.index
            #expect(line.string(index.header.messageID) == "m1")
            #expect(line.string(index.header.parentID) == "p1")
            #expect(line.string(index.header.timestamp) == "1795406829541")
            #expect(line.string(index.header.resourceVersion) == "10")
            #expect(line.string(index.header.type) == "t")
            #expect(index.header.sync)
            #expect(line.string(index.route.source) == "edgecontroller")
            #expect(line.string(index.route.destination) == "d")
            #expect(line.string(index.route.group) == "resource")
            #expect(line.string(index.route.operation) == "update")
            #expect(line.string(index.route.resource) == "node/edge-0/default/configmap/cm")
            #expect(line.string(index.content.apiVersion) == "v1")
            #expect(line.string(index.content.kind) == "ConfigMap")
            #expect(line.string(index.content.uid) == "u1")
            #expect(line.string(index.content.name) == "cm")
            #expect(index.content.isDeleting)
            #expect(!line.isInner)
        }
    }

    @Test("that is cut at any byte is refused")
    func cutAnywhere() {
        let bytes = Array(plain.utf8)
        for length in 0..<bytes.count { #expect(scanError(bytes[..<length]) != nil, "cut at \(length)") }
        #expect(scanError(bytes) == nil)
    }

    @Test("may write keys and values with escapes")
    func escapes() throws {
        let text = #"{"\u0068eader":{"msg\u005fid":"\u006d\"\\\/\b\f\n\r\t"},"route":{"resource":"node\/edge-0\/\u0061\ud83d\ude00"}}"#
        try withLine(text) { line in
            #expect(line.string(line.index.header.messageID) == "m\"\\/\u{8}\u{c}\n\r\t")
            #expect(line.string(line.index.route.resource) == "node/edge-0/a😀")
            #expect(line.equals(line.index.header.messageID, "m\"\\/\u{8}\u{c}\n\r\t"))
        }
    }

    @Test("with a surrogate that has no partner has U+FFFD there", arguments: [#"\ud800"#, #"\udc00"#, #"\ud800x"#, #"\ud800\u0041"#])
    func loneSurrogate(_ escape: String) throws {
        try withLine(#"{"header":{"msg_id":"\#(escape)"},"route":{}}"#) { line in
            #expect(line.string(line.index.header.messageID).unicodeScalars.first == "\u{fffd}")
        }
    }

    @Test(
        "is refused for the right reason",
        arguments: [
            ("", MessageError.Code.notJSON), ("{", .notJSON), ("[]", .notObject), ("\"x\"", .notObject), ("12", .notObject),
            ("{}", .missing), (#"{"header":{}}"#, .missing), (#"{"header":null,"route":{}}"#, .missing),
            (#"{"header":{},"route":{}} x"#, .notJSON), (#"{"header":[],"route":{}}"#, .wrongType),
            (#"{"header":{"msg_id":1},"route":{}}"#, .wrongType), (#"{"header":{"sync":1},"route":{}}"#, .wrongType),
            (#"{"header":{"timestamp":"1"},"route":{}}"#, .wrongType),
            (#"{"header":{},"header":{},"route":{}}"#, .duplicateKey), (#"{"header":{},"route":{},"x":1,"x":2}"#, .duplicateKey),
            (#"{"header":{"msg_id":"a","msg_id":"a"},"route":{}}"#, .duplicateKey),
            (#"{"header":{"msg_id":"a","\u006dsg_id":"a"},"route":{}}"#, .duplicateKey),
            (#"{"header":{"x":1,"\u0078":1},"route":{}}"#, .duplicateKey),
            (#"{"header":{},"route":{"resource":"a","resource":"b"}}"#, .duplicateKey),
            (#"{"hub":{"kind":"up","kind":"up"},"header":{},"route":{}}"#, .duplicateKey),
            (#"{"header":{},"hub":{},"route":{}}"#, .misplacedEnvelope), (#"{"hub":[],"header":{},"route":{}}"#, .wrongType),
            (#"{"hub":{"session":-1},"header":{},"route":{}}"#, .wrongType),
            (#"{"hub":{"session":9007199254740992},"header":{},"route":{}}"#, .wrongType),
            (#"{"header":{},"route":{},}"#, .notJSON), (#"{"header":{},"route":{},"content":01}"#, .notJSON),
            (#"{"header":{},"route":{},"content":"\#u{1}"}"#, .notJSON), (#"{"header":{},"route":{},"content":"\x"}"#, .notJSON),
        ])
    func reasons(_ text: String, _ code: MessageError.Code) {
        #expect(scanError(text.utf8)?.code == code)
    }

    @Test(
        "with invalid UTF-8 is refused",
        arguments: [
            [0x80], [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x80, 0x80, 0x80], [0xf4, 0x90, 0x80, 0x80],
            [0xf5, 0x80, 0x80, 0x80], [0xff], [0xe4, 0xb8], [0xc3],
        ])
    func invalidUTF8(_ bad: [UInt8]) {
        let start = Array(#"{"header":{},"route":{},"content":"abcdefghij"#.utf8)
        #expect(scanError(start + bad + Array(#"klmnopqrstuv"}"#.utf8))?.code == .invalidUTF8)
    }

    @Test("takes every kind of UTF-8 character at every position of a word")
    func validUTF8() {
        for shift in 0..<9 {
            let text = String(repeating: "a", count: shift) + "é中😀\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}"
            #expect(scanError(#"{"header":{},"route":{},"content":"\#(text)"}"#.utf8) == nil)
        }
    }

    @Test("finds quotes, backslashes and controls at every position of a word")
    func wordEdges() throws {
        for length in 0..<20 {
            let filler = String(repeating: "x", count: length)
            #expect(scanError(#"{"header":{},"route":{},"content":"\#(filler)"}"#.utf8) == nil)
            #expect(scanError(#"{"header":{},"route":{},"content":"\#(filler)\"\\\#(filler)"}"#.utf8) == nil)
            #expect(scanError((#"{"header":{},"route":{},"content":"\#(filler)"# + "\t" + #"\#(filler)"}"#).utf8)?.code == .notJSON)
        }
    }

    @Test("may nest 512 deep and no deeper")
    func depth() {
        func nested(_ open: String, _ close: String, _ levels: Int) -> String {
            #"{"header":{},"route":{},"content":"# + String(repeating: open, count: levels) + "1" + String(repeating: close, count: levels)
                + "}"
        }
        #expect(scanError(nested("[", "]", 511).utf8) == nil)
        #expect(scanError(nested("[", "]", 512).utf8)?.code == .tooDeep)
        #expect(scanError(nested(#"{"a":"#, "}", 511).utf8) == nil)
        #expect(scanError(nested(#"{"a":"#, "}", 512).utf8)?.code == .tooDeep)
        #expect(scanError(nested(#"{"a":["#, "]}", 255).utf8) == nil)
        #expect(scanError((nested("[", "", 300)).utf8) != nil)
    }

    @Test("counts the last of repeated keys in content")
    func repeatedContentKeys() throws {
        try withLine(#"{"header":{},"route":{},"content":{"metadata":{"uid":"a","name":"n"},"metadata":{"uid":"b"}}}"#) { line in
            #expect(line.string(line.index.content.uid) == "b")
            #expect(!line.index.content.name.isPresent)
        }
    }

    @Test("bounds the unknown members of a checked object")
    func manyMembers() {
        func members(_ count: Int) -> String {
            #"{"header":{"# + (0..<count).map { #""k\#($0)":0"# }.joined(separator: ",") + #"},"route":{}}"#
        }
        #expect(scanError(members(256).utf8) == nil)
        #expect(scanError(members(257).utf8)?.code == .tooManyMembers)
    }

    @Test("may have space around every token")
    func space() throws {
        let text = " { \"hub\" : { \"kind\" : \"up\" , \"node\" : \"n\" , \"session\" : 5 } ,\t\"header\" : { } , \"route\" : { } } \r"
        try withLine(text) { line in
            #expect(line.index.hub.session == 5)
            var frame: [UInt8] = []
            line.appendFrame(to: &frame)
            #expect(String(decoding: frame, as: UTF8.self) == "{\t\"header\" : { } , \"route\" : { } } \r\n")
        }
    }
}
