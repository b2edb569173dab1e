import NIOCore
import Testing

@testable import HubSwarm

@Suite("The upgrade")
struct UpgradeTests {
    /// Key and answer of RFC 6455, 1.3.
    private let upgrade = Upgrade(key: "dGhlIHNhbXBsZSBub25jZQ==")
    private let good =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

    private func answer(_ text: String) -> (Upgrade.Answer, String) {
        var buffer = ByteBuffer(string: text)
        return (upgrade.readAnswer(from: &buffer), String(buffer: buffer))
    }

    @Test("the request has the recorded line and headers")
    func request() {
        var buffer = ByteBuffer()
        upgrade.writeRequest(host: "127.0.0.1:10120", node: "edge-0", project: "e632aba927ea4ac2b575ec1603d56f10", to: &buffer)
        let lines = String(buffer: buffer).split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines[0] == "GET /e632aba927ea4ac2b575ec1603d56f10/edge-0/events HTTP/1.1")
        let recorded = [
            "Host: 127.0.0.1:10120", "Connection: Upgrade", "Connectionuse: msg", "Node_id: edge-0",
            "Project_id: e632aba927ea4ac2b575ec1603d56f10", "Sec-WebSocket-Version: 13", "Upgrade: websocket",
        ]
        for line in recorded { #expect(lines.contains { $0 == line }) }
        #expect(lines.suffix(2) == ["", ""])
    }

    @Test("a good answer is accepted, and frames behind it stay")
    func accepted() {
        #expect(answer(good + "\r\nframes") == (.accepted, "frames"))
        #expect(answer(good.replacing("Upgrade: websocket", with: "upgrade:WebSocket") + "X: y\r\n\r\n").0 == .accepted)
    }

    @Test("an answer may come in any pieces")
    func pieces() {
        let whole = good + "\r\n"
        for count in 0..<whole.utf8.count {
            #expect(answer(String(decoding: Array(whole.utf8)[..<count], as: UTF8.self)).0 == .incomplete)
        }
    }

    @Test(
        "anything else is refused or broken",
        arguments: [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Upgrade.Answer.refused(403)), ("HTTP/1.1 503\r\n\r\n", .refused(503)),
            ("HTTP/1.1 200 OK\r\n\r\n", .refused(200)), ("HTTP/1.1 abc\r\n\r\n", .violation), ("HTTP/1.0 101 X\r\n\r\n", .violation),
            ("HTTP/1.1 101 X\r\n\r\n", .violation), ("\r\n\r\n", .violation), ("\u{16}\u{03}\r\n\r\n", .violation),
        ])
    func others(text: String, expected: Upgrade.Answer) {
        #expect(answer(text).0 == expected)
    }

    @Test("a wrong key, an extension or a subprotocol breaks the upgrade", arguments: ["key", "extension", "protocol"])
    func broken(what: String) {
        switch what {
        case "key": #expect(answer(good.replacing("s3p", with: "S3p") + "\r\n").0 == .violation)
        case "extension": #expect(answer(good + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n").0 == .violation)
        default: #expect(answer(good + "Sec-WebSocket-Protocol: a\r\n\r\n").0 == .violation)
        }
    }

    @Test("an endless head is broken at its limit")
    func endless() {
        #expect(answer("HTTP/1.1 101 X\r\n" + String(repeating: "A: b\r\n", count: 4000)).0 == .violation)
    }

    @Test(
        "base64 has the examples of RFC 4648",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func base64(plain: String, encoded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == encoded)
    }
}
