// RFC 6455, section 5, from the server's side; the examples of 5.7 and inputs in every split.

internal import HubServe
internal import Testing

@Suite("FrameParser")
struct FrameParserTests {
    /// All events of an input that comes in pieces of `unit` bytes, and the messages that were complete.
    private func parse(_ input: [UInt8], unit: Int = .max, maxMessage: Int = 1 << 20) -> (events: [FrameParser.Event], messages: [[UInt8]])
    {
        var parser = FrameParser(maxMessage: maxMessage)
        var message: [UInt8] = []
        var events: [FrameParser.Event] = []
        var messages: [[UInt8]] = []
        var start = 0
        while start < input.count {
            let piece = Array(input[start..<min(input.count, start + min(unit, input.count))])
            start += piece.count
            var at = 0
            while true {
                let event = unsafe piece.withUnsafeBytes { unsafe parser.next($0, at: &at, into: &message) }
                if event == .needsInput { break }
                events.append(event)
                if case .failure = event { return (events, messages) }
                if event == .message {
                    messages.append(message)
                    message = []
                }
            }
        }
        return (events, messages)
    }

    private func frame(
        _ payload: [UInt8], opcode: UInt8 = 1, isFinal: Bool = true, key: [UInt8] = [0x37, 0xfa, 0x21, 0x3d]
    ) -> [UInt8] {
        var bytes = [(isFinal ? 0x80 : 0) | opcode]
        switch payload.count {
        case ..<126: bytes.append(0x80 | UInt8(payload.count))
        case ..<65_536: bytes += [0xfe, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
        default: bytes += [0xff] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        return bytes + key + payload.enumerated().map { $0.element ^ key[$0.offset % 4] }
    }

    @Test("the masked Hello of RFC 6455, 5.7, in one piece and byte by byte", arguments: [1, 2, 5, 100])
    func hello(unit: Int) {
        let input: [UInt8] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
        let (events, messages) = parse(input, unit: unit)
        #expect(events == [.message])
        #expect(messages == [Array("Hello".utf8)])
    }

    @Test("messages of all sizes of length field, one after the other, in every split", arguments: [1, 3, 7, 8, 9, 100, 4096, 1 << 20])
    func sizes(unit: Int) {
        var input: [UInt8] = []
        var expected: [[UInt8]] = []
        for size in [0, 1, 2, 7, 8, 9, 125, 126, 150, 1000, 65_535, 65_536, 70_001] {
            let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ size) }
            expected.append(payload)
            input += frame(payload, opcode: size % 2 == 0 ? 1 : 2)
        }
        let (events, messages) = parse(input, unit: unit)
        #expect(events == expected.map { _ in .message })
        #expect(messages == expected)
    }

    @Test("fragments make one message, with control frames in between", arguments: [1, 4, 1000])
    func fragments(unit: Int) {
        let input =
            frame([1, 2, 3], isFinal: false) + frame([9], opcode: 9) + frame([], opcode: 0, isFinal: false) + frame([], opcode: 10)
            + frame([4, 5], opcode: 0, isFinal: false) + frame([], opcode: 0) + frame([6])
        let (events, messages) = parse(input, unit: unit)
        #expect(events == [.ping([9]), .pong, .message, .message])
        #expect(messages == [[1, 2, 3, 4, 5], [6]])
    }

    @Test(
        "frames that break the protocol",
        arguments: [
            [0x81, 0x05], [0xc1, 0x80], [0xa1, 0x80], [0x91, 0x80], [0x83, 0x80], [0x8b, 0x80], [0x80, 0x80], [0x89, 0xfe], [0x09, 0x80],
            [0x08, 0x80],
        ] as [[UInt8]])
    func malformed(start: [UInt8]) {
        guard case .failure(.protocolError, _) = parse(start + [1, 2, 3, 4]).events.last else {
            Issue.record("accepted")
            return
        }
    }

    @Test("a new message within a message, and lengths not in their shortest form, break it too")
    func malformedLater() {
        for input in [
            frame([1], isFinal: false) + frame([2]), [0x81, 0xfe, 0, 125, 0, 0, 0, 0],
            [0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
            [0x81, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        ] as [[UInt8]] {
            guard case .failure(.protocolError, _) = parse(input).events.last else {
                Issue.record("accepted \(input.prefix(16))")
                return
            }
        }
    }

    @Test("a message over the limit fails at its header, before its payload")
    func tooBig() {
        #expect(parse(frame([UInt8](repeating: 0, count: 100)), maxMessage: 100).events == [.message])
        for input in [[0x81, 0xe5, 1, 2, 3, 4], frame([UInt8](repeating: 0, count: 90), isFinal: false) + [0x80, 0x8b, 1, 2, 3, 4]]
            as [[UInt8]]
        {
            guard case .failure(.tooBig, _) = parse(input, maxMessage: 100).events.last else {
                Issue.record("accepted")
                return
            }
        }
    }

    @Test("close frames: without code, with a code, with codes that may not be sent")
    func close() {
        #expect(parse(frame([], opcode: 8)).events == [.close(nil)])
        #expect(parse(frame([0x03, 0xe8] + Array("bye".utf8), opcode: 8)).events == [.close(1000)])
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] as [UInt16] {
            guard case .failure(.protocolError, _) = parse(frame([UInt8(code >> 8), UInt8(code & 0xff)], opcode: 8)).events.last else {
                Issue.record("accepted \(code)")
                return
            }
        }
        guard case .failure(.invalidData, _) = parse(frame([0x03, 0xe8, 0xff], opcode: 8)).events.last else {
            Issue.record("accepted a reason that is not UTF-8")
            return
        }
    }

    @Test("an unfinished message is known as such")
    func inMessage() {
        var parser = FrameParser(maxMessage: 100)
        var message: [UInt8] = []
        func feed(_ bytes: [UInt8]) {
            var at = 0
            while at < bytes.count {
                if unsafe bytes.withUnsafeBytes({ unsafe parser.next($0, at: &at, into: &message) }) == .needsInput { break }
            }
        }
        #expect(!parser.isInMessage)
        feed(Array(frame([1, 2, 3]).dropLast()))
        #expect(parser.isInMessage)
        feed([0])
        #expect(!parser.isInMessage)
        feed(frame([1], isFinal: false))
        #expect(parser.isInMessage)
        feed(frame([1], opcode: 9))
        #expect(parser.isInMessage)
        feed(frame([], opcode: 0))
        #expect(!parser.isInMessage)
        feed(Array(frame([1, 2], opcode: 9).dropLast()))
        #expect(!parser.isInMessage)
    }

    @Test(
        "after a failure the rest is thrown away until the peer's close frame, in every split",
        arguments: [
            [0x83, 0x81, 1, 2, 3, 4, 5], [0xc1, 0x81, 1, 2, 3, 4, 5], [0x81, 0x01, 5], [0x80, 0x80, 1, 2, 3, 4],
            [0x89, 0xfe, 0, 126, 1, 2, 3, 4]
                + [UInt8](repeating: 7, count: 126), [0x81, 0xfe, 0, 1, 1, 2, 3, 4, 5],
        ] as [[UInt8]], [1, 2, 3, 1000])
    func skips(bad: [UInt8], unit: Int) {
        let input = bad + frame([1, 2, 3]) + frame([9], opcode: 9) + frame([0x03, 0xe8], opcode: 8)
        var parser = FrameParser(maxMessage: 1000)
        var message: [UInt8] = []
        var hasFailed = false
        var hasClosed = false
        for start in stride(from: 0, to: input.count, by: unit) {
            let piece = Array(input[start..<min(input.count, start + unit)])
            var at = 0
            unsafe piece.withUnsafeBytes { bytes in
                if !hasFailed {
                    if case .failure = unsafe parser.next(bytes, at: &at, into: &message) { hasFailed = true }
                }
                if hasFailed, unsafe parser.skip(bytes, at: &at) { hasClosed = true }
            }
        }
        #expect(hasFailed && hasClosed && parser.hasClose)
        #expect(message.isEmpty)
    }

    @Test("a message too big is skipped by its length, however long it says that it is")
    func skipsLarge() {
        let (failure, hasClosed) = failThenSkip(frame([UInt8](repeating: 1, count: 70_000)) + frame([0x03, 0xf1], opcode: 8))
        #expect(failure == .failure(.tooBig, "message too big"))
        #expect(hasClosed)
        let endless: [UInt8] = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3]
        let (other, hasOtherClosed) = failThenSkip(endless)
        #expect(other == .failure(.protocolError, "length not in its shortest form"))
        #expect(!hasOtherClosed)
    }

    private func failThenSkip(_ input: [UInt8]) -> (FrameParser.Event, Bool) {
        var parser = FrameParser(maxMessage: 10)
        var message: [UInt8] = []
        var at = 0
        return unsafe input.withUnsafeBytes { bytes in
            let failure = unsafe parser.next(bytes, at: &at, into: &message)
            return (failure, unsafe parser.skip(bytes, at: &at))
        }
    }
}
