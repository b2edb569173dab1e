// The HTTP upgrade of an edge (RFC 6455, section 4; header names as recorded from KubeEdge's edge).

internal import HubTLS
package import NIOCore

/// One upgrade: the request, and the check of its answer.
package struct Upgrade: Sendable {
    /// Most bytes of an answer's head.
    package static let maxHead = 16 << 10

    package enum Answer: Sendable, Equatable {
        /// More bytes are needed.
        case incomplete
        /// 101 with the right key; the bytes after the head are frames.
        case accepted
        /// Another status.
        case refused(Int)
        /// No HTTP, or a 101 that does not answer this request.
        case violation
    }

    private let key: String

    /// - Parameter random: makes the 16 bytes of `Sec-WebSocket-Key`.
    package init(_ random: inout FastRandom) {
        var nonce: [UInt8] = []
        for _ in 0..<2 {
            let word = random.next()
            for shift in stride(from: 0, to: 64, by: 8) { nonce.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
        }
        key = Base64.encode(nonce)
    }

    package init(key: String) { self.key = key }

    /// `GET /<project>/<node>/events`
    package func writeRequest(host: String, node: String, project: String, to buffer: inout ByteBuffer) {
        buffer.writeString(
            "GET /\(project)/\(node)/events HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: hub-swarm\r\nConnection: Upgrade\r\n"
                + "Connectionuse: msg\r\nNode_id: \(node)\r\nProject_id: \(project)\r\nSec-WebSocket-Key: \(key)\r\n"
                + "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n")
    }

    /// Reads the head of the answer from `buffer`, once it is complete.
    package func readAnswer(from buffer: inout ByteBuffer) -> Answer {
        let view = buffer.readableBytesView.prefix(Self.maxHead)
        guard let end = Self.endOfHead(view) else { return view.count < Self.maxHead ? .incomplete : .violation }
        let head = String(decoding: view[view.startIndex..<end], as: UTF8.self)
        buffer.moveReaderIndex(to: end)
        // Carriage return and line feed are one Character.
        var lines = head.split(separator: "\r\n", omittingEmptySubsequences: true)[...]
        guard let first = lines.popFirst(), first.hasPrefix("HTTP/1.1 ") else { return .violation }
        guard let status = Int(first.dropFirst(9).prefix(3)), (100...599).contains(status) else { return .violation }
        guard status == 101 else { return .refused(status) }
        var fields: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { return .violation }
            let name = line[..<colon].lowercased()
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            fields[name] = String(value)
        }
        // RFC 6455, 4.1: a client fails the connection when one of these is missing or wrong, or an extension was not asked for.
        guard fields["upgrade"]?.lowercased() == "websocket", fields["connection"]?.lowercased().contains("upgrade") == true,
            let accept = try? Self.accept(for: key), fields["sec-websocket-accept"] == accept, fields["sec-websocket-extensions"] == nil,
            fields["sec-websocket-protocol"] == nil
        else { return .violation }
        return .accepted
    }

    /// `Sec-WebSocket-Accept` for a key (RFC 6455, 4.2.2).
    static func accept(for key: String) throws(TLSError) -> String {
        Base64.encode(try Digest.sha1(Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)))
    }

    private static func endOfHead(_ bytes: ByteBufferView) -> Int? {
        var matched = 0
        for index in bytes.indices {
            let expected: UInt8 = matched % 2 == 0 ? 0x0d : 0x0a
            matched = bytes[index] == expected ? matched + 1 : bytes[index] == 0x0d ? 1 : 0
            if matched == 4 { return index + 1 }
        }
        return nil
    }
}

/// Base64 with padding (RFC 4648, section 4), for a few bytes.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var word: UInt32 = 0
            for byte in group { word = word << 8 | UInt32(byte) }
            word <<= UInt32(3 - group.count) * 8
            for position in 0..<4 {
                let digit = alphabet[Int(word >> UInt32(18 - 6 * position) & 63)]
                text.append(position <= group.count ? digit : 0x3d)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
