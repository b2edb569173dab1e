// WebSocket frames of a client (RFC 6455, section 5): masked ones out, unmasked ones in.
// Written for many frames per buffer: a frame is built and masked in place in the buffer that is sent, and read where it arrived.
// It shares nothing with the server's codec, so that one cannot hide a mistake of the other.

package import NIOCore

/// The opcodes of RFC 6455, 5.2.
package enum FrameOpcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

/// The head of a frame from a server.
package struct FrameHead: Sendable, Equatable {
    package let isFinal: Bool
    package let opcode: FrameOpcode
    /// Bytes before the payload.
    package let headLength: Int
    package let payloadLength: Int

    /// Why the head of a frame cannot come from a server that keeps to RFC 6455.
    package enum Violation: Error, Sendable, Equatable {
        case reservedBits
        case unknownOpcode
        case masked
        case controlTooLong
        case controlFragmented
        case lengthNotMinimal
        case tooLarge
    }

    /// The head of the frame at the start of `bytes`, nil when more bytes are needed.
    ///
    /// - Parameter limit: largest payload that is accepted.
    package static func parse(_ bytes: UnsafeRawBufferPointer, limit: Int) throws(Violation) -> FrameHead? {
        guard bytes.count >= 2 else { return nil }
        let (first, second) = unsafe (bytes[0], bytes[1])
        guard first & 0x70 == 0 else { throw .reservedBits }
        guard let opcode = FrameOpcode(rawValue: first & 0x0f) else { throw .unknownOpcode }
        guard second & 0x80 == 0 else { throw .masked }
        let isFinal = first & 0x80 != 0
        var length = Int(second)
        var headLength = 2
        if opcode.isControl {
            guard isFinal else { throw .controlFragmented }
            guard length <= 125 else { throw .controlTooLong }
        }
        switch length {
        case 126:
            guard bytes.count >= 4 else { return nil }
            length = unsafe Int(bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self).bigEndian)
            headLength = 4
            guard length > 125 else { throw .lengthNotMinimal }
        case 127:
            guard bytes.count >= 10 else { return nil }
            let wide = unsafe bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self).bigEndian
            headLength = 10
            guard wide > 0xffff else { throw .lengthNotMinimal }
            guard wide <= UInt64(limit) else { throw .tooLarge }
            length = Int(wide)
        default: break
        }
        guard length <= limit else { throw .tooLarge }
        return FrameHead(isFinal: isFinal, opcode: opcode, headLength: headLength, payloadLength: length)
    }
}

package enum ClientFrame {
    /// Appends one final masked frame to `buffer`; `body` writes the payload.
    ///
    /// - Parameter mask: the masking key; RFC 6455, 5.3 wants a new one for each frame.
    package static func append(
        _ opcode: FrameOpcode, mask: UInt32, to buffer: inout ByteBuffer, expecting size: Int = 512, _ body: (inout ByteBuffer) -> Void
    ) {
        // The head's size depends on the payload's: room for the usual one is left, and corrected in the rare other cases.
        buffer.reserveCapacity(minimumWritableBytes: size + 14)
        let start = buffer.writerIndex
        let guess = headLength(size)
        buffer.moveWriterIndex(forwardBy: guess)
        body(&buffer)
        let count = buffer.writerIndex - start - guess
        let needed = headLength(count)
        if needed != guess { shift(&buffer, from: start + guess, to: start + needed, count: count) }
        writeHead(opcode, count, mask, at: start, in: &buffer)
        unsafe buffer.withUnsafeMutableReadableBytes { bytes in
            let offset = bytes.count - count
            unsafe applyMask(mask, UnsafeMutableRawBufferPointer(rebasing: bytes[offset...]))
        }
    }

    private static func headLength(_ payload: Int) -> Int { payload < 126 ? 6 : payload < 65_536 ? 8 : 14 }

    private static func shift(_ buffer: inout ByteBuffer, from: Int, to: Int, count: Int) {
        let payload = buffer.getSlice(at: from, length: count) ?? ByteBuffer()
        buffer.moveWriterIndex(to: min(from, to))
        if to > from { buffer.writeRepeatingByte(0, count: to - from) }
        buffer.writeImmutableBuffer(payload)
    }

    private static func writeHead(_ opcode: FrameOpcode, _ count: Int, _ mask: UInt32, at start: Int, in buffer: inout ByteBuffer) {
        buffer.setInteger(0x80 | opcode.rawValue, at: start)
        var at = start + 2
        switch headLength(count) {
        case 6: buffer.setInteger(0x80 | UInt8(truncatingIfNeeded: count), at: start + 1)
        case 8:
            buffer.setInteger(0x80 | 126 as UInt8, at: start + 1)
            at += buffer.setInteger(UInt16(truncatingIfNeeded: count), at: at)
        default:
            buffer.setInteger(0x80 | 127 as UInt8, at: start + 1)
            at += buffer.setInteger(UInt64(count), at: at)
        }
        buffer.setInteger(mask, at: at, endianness: .big)
    }

    /// XORs `bytes` with the key, eight bytes at a time. The most significant byte of `mask` meets the first byte.
    package static func applyMask(_ mask: UInt32, _ bytes: UnsafeMutableRawBufferPointer) {
        let wide = (UInt64(mask) << 32 | UInt64(mask)).bigEndian
        var at = 0
        while at + 8 <= bytes.count {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            unsafe bytes.storeBytes(of: word ^ wide, toByteOffset: at, as: UInt64.self)
            at += 8
        }
        while at < bytes.count {
            unsafe bytes[at] ^= UInt8(truncatingIfNeeded: mask >> (24 - 8 * UInt32(at & 3)))
            at += 1
        }
    }
}
