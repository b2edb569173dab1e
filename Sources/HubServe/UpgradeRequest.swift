// What a client's opening handshake must hold (RFC 6455, 4.2.1), and that nothing in it has two meanings.

internal import NIOHTTP1

enum UpgradeRequest {
    /// Why `head` is no opening handshake; nil when it is one. Identity and admission are not judged here.
    static func fault(_ head: HTTPRequestHead) -> (HTTPResponseStatus, String)? {
        let headers = head.headers
        guard headers[canonicalForm: "upgrade"].contains(where: { $0.lowercased() == "websocket" }) else {
            return (.upgradeRequired, "this is a WebSocket server")
        }
        guard head.method == .GET, headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" }) else {
            return (.badRequest, "not a WebSocket upgrade")
        }
        guard head.version.major == 1, head.version.minor >= 1 else { return (.badRequest, "HTTP/1.1 is needed") }
        for name in ["host", "sec-websocket-key", "sec-websocket-version"] where headers[name].count != 1 {
            return (.badRequest, "\(name) must come once")
        }
        // A proxy in between may go by the other value.
        for name in ["node_id", "project_id"] where headers[name].count > 1 { return (.badRequest, "\(name) may come once") }
        guard headers["sec-websocket-version"][0] == "13" else { return (.upgradeRequired, "only version 13 of WebSocket is spoken") }
        guard isKey(headers["sec-websocket-key"][0]) else { return (.badRequest, "sec-websocket-key is not 16 bytes in base64") }
        return nil
    }

    private static func isKey(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.count == 24 && bytes.suffix(2) == [0x3d, 0x3d]
            && bytes.dropLast(2).allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x2b || byte == 0x2f
            }
    }
}
