// WebSocket frames of a client, RFC 6455 section 5, as a state machine over pieces of input.
//
// NIOWebSocket's decoder hands out whole frames only, and its aggregator whole messages: until then the bytes sit in a buffer that
// nobody else sees. Here all unfinished messages of all nodes share one bound, and the largest goes first, so the bytes must be
// counted while they come. The payload is unmasked into the caller's buffer, which saves the aggregator's copy.

/// The reason of a close frame (RFC 6455, 7.4).
package enum CloseCode: UInt16, Sendable, Equatable {
    case normal = 1000
    case goingAway = 1001
    case protocolError = 1002
    case invalidData = 1007
    case policy = 1008
    case tooBig = 1009
    case tryLater = 1013
}

/// One direction of one connection.
package struct FrameParser: Sendable {
    package enum Event: Sendable, Equatable {
        /// All input is used up.
        case needsInput
        /// The message in the caller's buffer is complete.
        case message
        case ping([UInt8])
        case pong
        /// A close frame; nil when it names no code.
        case close(UInt16?)
        /// The connection cannot go on.
        case failure(CloseCode, String)
    }

    /// A message has begun and its end has not come.
    package var isInMessage: Bool { isFragmented || payloadLeft > 0 && !isControl }

    private enum Opcode {
        static let continuation: UInt8 = 0
        static let text: UInt8 = 1
        static let binary: UInt8 = 2
        static let close: UInt8 = 8
        static let ping: UInt8 = 9
        static let pong: UInt8 = 10
    }

    private let maxMessage: Int
    /// Header bytes that have come.
    private var head = InlineArray<14, UInt8>(repeating: 0)
    private var headCount = 0
    private var isInPayload = false
    private var payloadLeft = 0
    /// The masking key, first byte lowest, rotated to the next payload byte.
    private var mask: UInt32 = 0
    /// A data frame without FIN has come.
    private var isFragmented = false
    private var messageBytes = 0
    private var control: [UInt8] = []
    /// The connection is over: only frames' ends are looked for, and a close frame.
    private var isSkipping = false
    /// A close frame has come, perhaps a bad one: none will follow it.
    package private(set) var hasClose = false

    /// - Parameter maxMessage: most bytes of one message, all its frames together.
    package init(maxMessage: Int) {
        self.maxMessage = maxMessage
    }

    private var isFinal: Bool { head[0] & 0x80 != 0 }
    private var opcode: UInt8 { head[0] & 0x0f }
    private var isControl: Bool { opcode & 8 != 0 }

    /// Takes input up to the next event.
    ///
    /// - Parameter at: the position in `input`; moved past what was used.
    /// - Parameter message: unmasked payload of data frames is appended here; after `.message` the caller takes it out.
    package mutating func next(_ input: UnsafeRawBufferPointer, at: inout Int, into message: inout [UInt8]) -> Event {
        while true {
            if !isInPayload {
                while headCount < headLength {
                    guard at < input.count else { return .needsInput }
                    head[headCount] = unsafe input[at]
                    at += 1
                    headCount += 1
                    if headCount == 2, !isSkipping, let failure = checkStart() { return fail(failure) }
                }
                if let failure = beginPayload() { return fail(failure) }
            }
            let count = min(payloadLeft, input.count - at)
            if count > 0 {
                let piece = unsafe UnsafeRawBufferPointer(rebasing: input[at..<at + count])
                if isSkipping {
                    // Thrown away.
                } else if isControl {
                    unsafe Self.unmask(piece, &mask, into: &control)
                } else {
                    unsafe Self.unmask(piece, &mask, into: &message)
                }
                at += count
                payloadLeft -= count
            }
            guard payloadLeft == 0 else { return .needsInput }
            isInPayload = false
            headCount = 0
            if let event = endFrame() { return fail(event) }
        }
    }

    /// Throws away what a connection that is over still sends, also after a failure: a peer that is cut off while it sends would lose
    /// the close frame on its way to it (RFC 6455, 7.1.1).
    /// - Returns: whether a close frame was among it.
    package mutating func skip(_ input: UnsafeRawBufferPointer, at: inout Int) -> Bool {
        isSkipping = true
        var nothing: [UInt8] = []
        return unsafe next(input, at: &at, into: &nothing) == .close(nil)
    }

    private mutating func fail(_ event: Event) -> Event {
        if case .failure = event { isSkipping = true }
        return event
    }

    // MARK: Header

    /// Bytes of the header as far as its first two tell.
    private var headLength: Int {
        guard headCount >= 2 else { return 2 }
        return 2 + lengthBytes + keyBytes
    }

    private var lengthBytes: Int {
        switch head[1] & 0x7f {
        case 126: 2
        case 127: 8
        default: 0
        }
    }

    private var keyBytes: Int { head[1] & 0x80 != 0 ? 4 : 0 }

    private func checkStart() -> Event? {
        guard head[0] & 0x70 == 0 else { return .failure(.protocolError, "reserved bits") }
        guard head[1] & 0x80 != 0 else { return .failure(.protocolError, "unmasked frame") }
        switch opcode {
        case Opcode.continuation:
            return isFragmented ? nil : .failure(.protocolError, "continuation of nothing")
        case Opcode.text, Opcode.binary:
            return isFragmented ? .failure(.protocolError, "message within a message") : nil
        case Opcode.close, Opcode.ping, Opcode.pong:
            return isFinal && head[1] & 0x7f < 126 ? nil : .failure(.protocolError, "long or fragmented control frame")
        default: return .failure(.protocolError, "unknown opcode")
        }
    }

    private mutating func beginPayload() -> Event? {
        var length = UInt64(head[1] & 0x7f)
        var isShortest = true
        if lengthBytes > 0 {
            length = 0
            for position in 2..<2 + lengthBytes { length = length << 8 | UInt64(head[position]) }
            isShortest = length > (lengthBytes == 2 ? 125 : 0xffff) && length >> 63 == 0
        }
        payloadLeft = Int(clamping: length)
        mask = 0
        for position in (headLength - keyBytes..<headLength).reversed() { mask = mask << 8 | UInt32(head[position]) }
        isInPayload = true
        if isSkipping { return nil }
        guard isShortest else { return .failure(.protocolError, "length not in its shortest form") }
        if !isControl {
            guard length <= UInt64(maxMessage - messageBytes) else { return .failure(.tooBig, "message too big") }
            messageBytes += Int(length)
        }
        return nil
    }

    // MARK: Payload

    private mutating func endFrame() -> Event? {
        hasClose = hasClose || opcode == Opcode.close
        if isSkipping { return opcode == Opcode.close ? .close(nil) : nil }
        if !isControl {
            isFragmented = !isFinal
            guard isFinal else { return nil }
            messageBytes = 0
            return .message
        }
        let payload = control
        control = []
        switch opcode {
        case Opcode.ping: return .ping(payload)
        case Opcode.pong: return .pong
        default: return Self.closeEvent(payload)
        }
    }

    private static func closeEvent(_ payload: [UInt8]) -> Event {
        guard payload.count != 1 else { return .failure(.protocolError, "close frame of one byte") }
        guard payload.count >= 2 else { return .close(nil) }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: break
        default: return .failure(.protocolError, "close code that may not be sent")
        }
        guard String(validating: payload[2...], as: UTF8.self) != nil else { return .failure(.invalidData, "close reason not UTF-8") }
        return .close(code)
    }

    /// Appends `piece` without its mask, eight bytes at a time, and turns the mask to the byte that follows.
    private static func unmask(_ piece: UnsafeRawBufferPointer, _ mask: inout UInt32, into target: inout [UInt8]) {
        let start = target.count
        unsafe target.append(contentsOf: piece)
        let wide = UInt64(mask) << 32 | UInt64(mask)
        let key = mask
        unsafe target.withUnsafeMutableBytes { bytes in
            var at = start
            while at + 8 <= bytes.count {
                let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) ^ wide
                unsafe bytes.storeBytes(of: word.littleEndian, toByteOffset: at, as: UInt64.self)
                at += 8
            }
            var shift: UInt32 = 0
            while at < bytes.count {
                unsafe bytes[at] ^= UInt8(truncatingIfNeeded: key >> shift)
                shift = (shift + 8) & 31
                at += 1
            }
        }
        let turn = UInt32(piece.count & 3) * 8
        if turn > 0 { mask = mask >> turn | mask << (32 - turn) }
    }
}
