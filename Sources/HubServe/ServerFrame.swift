// Frames that the server sends: whole, unmasked (RFC 6455, 5.2). One text frame carries one message and a newline, as KubeEdge writes it.

internal import NIOCore

enum ServerFrame {
    /// A text frame.
    static func text(_ payload: [UInt8]) -> ByteBuffer { frame(0x81, payload) }

    static func ping() -> ByteBuffer { frame(0x89, []) }

    /// - Parameter payload: that of the ping; at most 125 bytes.
    static func pong(_ payload: [UInt8]) -> ByteBuffer { frame(0x8a, payload) }

    /// - Parameter reason: for whoever reads the peer's log; cut at 123 bytes, a limit of the protocol.
    static func close(_ code: UInt16, _ reason: String = "") -> ByteBuffer {
        var text = reason.utf8.prefix(123)
        while String(validating: text, as: UTF8.self) == nil { text = text.dropLast() }
        return frame(0x88, [UInt8(code >> 8), UInt8(code & 0xff)] + Array(text))
    }

    private static func frame(_ first: UInt8, _ payload: [UInt8]) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: payload.count + 10)
        buffer.writeInteger(first)
        switch payload.count {
        case ..<126: buffer.writeInteger(UInt8(payload.count))
        case ...0xffff:
            buffer.writeInteger(126 as UInt8)
            buffer.writeInteger(UInt16(payload.count))
        default:
            buffer.writeInteger(127 as UInt8)
            buffer.writeInteger(UInt64(payload.count))
        }
        buffer.writeBytes(payload)
        return buffer
    }
}
