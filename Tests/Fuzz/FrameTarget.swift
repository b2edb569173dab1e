// Frames of a node: FrameParser, then UpstreamFrame, as hub-wsserve's connection puts them together. The first byte chooses the largest
// message; the second one says whether the bytes are the stream itself or a list of frames, which are then masked here; the third one
// chooses how the stream is split.
//
// Checked for every input: the split makes no difference; no message, complete or not, is larger than the bound; what becomes a line is
// one line, a message of that node and session; what is refused leaves the buffer as it was.

internal import HubMessage
internal import HubServe

struct FrameTarget: FuzzTarget {
    static let name = "frame"
    static let summary = "WebSocket frames of a node, up to the line"
    static let maxLength = 4096

    private enum Outcome: Equatable {
        case event(FrameParser.Event)
        case line([UInt8])
        case answered
        case refused(String, isForged: Bool)
        case invalid
        case unfinished(Int)
    }

    func run(_ bytes: UnsafeRawBufferPointer) {
        var choices = unsafe Choices(bytes)
        let bound = [16, 125, 126, 1000, 65_535, 1 << 20][Int(choices.byte()) % 6]
        let isStream = choices.byte() & 1 == 0
        let unit = Int(choices.byte() % 64) + 1
        let stream = isStream ? choices.rest() : Self.masked(&choices)
        let whole = parse(stream, unit: .max, bound: bound)
        require(whole == parse(stream, unit: unit, bound: bound), "the split makes a difference")
        if stream.count < 512 { require(whole == parse(stream, unit: 1, bound: bound), "byte by byte makes a difference") }
    }

    /// Frames of the form opcode and FIN, masking key, length, payload.
    private static func masked(_ choices: inout Choices) -> [UInt8] {
        var stream: [UInt8] = []
        var rest = choices.rest()[...]
        while rest.count > 3, stream.count < 1 << 16 {
            let head = rest.removeFirst()
            let key = rest.removeFirst()
            let count = min(rest.count - 1, Int(rest.removeFirst()) * (head & 0x10 == 0 ? 1 : 16))
            stream.append(head & 0x8f)
            switch count {
            case ..<126: stream.append(0x80 | UInt8(count))
            default: stream += [0xfe, UInt8(count >> 8), UInt8(count & 0xff)]
            }
            let keys = [key, key &+ 1, 0, 0xff]
            stream += keys
            for position in 0..<count { stream.append(rest[rest.startIndex + position] ^ keys[position % 4]) }
            rest = rest.dropFirst(count)
        }
        return stream
    }

    private func parse(_ stream: [UInt8], unit: Int, bound: Int) -> [Outcome] {
        let prefix = UpstreamFrame.prefix(node: "edge-0", session: 7)
        var parser = FrameParser(maxMessage: bound)
        var outcomes: [Outcome] = []
        var lines = prefix
        var start = 0
        while start < stream.count {
            let piece = Array(stream[start..<min(stream.count, start + min(unit, stream.count))])
            start += piece.count
            var at = 0
            reading: while true {
                let event = unsafe piece.withUnsafeBytes { unsafe parser.next($0, at: &at, into: &lines) }
                require(at <= piece.count, "read past the end")
                require(lines.count - prefix.count <= bound, "more is kept than the largest message")
                switch event {
                case .needsInput: break reading
                case .message:
                    outcomes.append(finish(&lines, prefix))
                    lines = prefix
                    if outcomes.last == .invalid { return outcomes }
                case .failure, .close:
                    outcomes.append(.event(event))
                    return outcomes
                case .ping, .pong: outcomes.append(.event(event))
                }
            }
            require(at == piece.count, "input is left over")
        }
        outcomes.append(.unfinished(lines.count - prefix.count))
        return outcomes
    }

    private func finish(_ lines: inout [UInt8], _ prefix: [UInt8]) -> Outcome {
        let before = lines
        switch UpstreamFrame.finish(&lines, body: prefix.count, time: 1_800_000_000_000_000) {
        case .line:
            requireLine(lines, "frame") { line in
                require((try? line.checkEnvelope()) != nil && line.kind == .up, "the envelope is refused")
                require(line.string(line.index.hub.node) == "edge-0" && line.index.hub.session == 7, "another node or session")
            }
            return .line(lines)
        case .answer(let payload):
            requireLine(payload, "answer") { require($0.equals($0.index.route.operation, "response"), "an answer that is none") }
            return .answered
        case .refused(let reason, let isForged):
            require(lines == before, "a refused frame was changed")
            return .refused(reason, isForged: isForged)
        case .invalid:
            require(lines == before, "an invalid frame was changed")
            return .invalid
        }
    }

    func seeds(_ lines: [[UInt8]]) -> [[UInt8]] {
        var seeds: [[UInt8]] = []
        for line in lines where line.count < 2000 {
            let sixteenths = UInt8((line.count + 15) / 16)
            let padded = line + [UInt8](repeating: 0x20, count: Int(sixteenths) * 16 - line.count)
            seeds.append([5, 1, 7, 0x91, 3, sixteenths] + padded)
            seeds.append([4, 1, 3, 0x01, 3, 20] + line.prefix(20) + [0x89, 1, 2, 0x68, 0x69, 0x90, 9, sixteenths] + padded.dropFirst(20))
        }
        seeds += [
            [0, 0, 1, 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], [3, 1, 1, 0x88, 0, 2, 0x03, 0xe8, 0x8a, 0, 0, 0],
            [2, 1, 0, 0x81, 0, 2, 0x7b, 0x7d],
        ]
        return seeds
    }
}
