// From a node's frame to a line (design: "hub-wsserve", rules 3 and 5): checked, not rebuilt.

internal import HubMessage

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum UpstreamFrame {
    package enum Outcome: Sendable, Equatable {
        /// The bytes are a line now.
        case line
        /// The message ends here; this is the payload of the answer's frame.
        case answer([UInt8])
        /// JSON, but no message: it is refused, the connection stays.
        case refused(String, isForged: Bool)
        /// No JSON or no UTF-8: the connection is closed with 1007.
        case invalid
    }

    /// The beginning of each line of a session: the envelope, whose comma takes the place of the frame's opening brace.
    package static func prefix(node: String, session: Int64) -> [UInt8] {
        var bytes = Array("{\"hub\":{\"kind\":\"up\",\"node\":".utf8)
        JSONText.appendString(node.utf8, to: &bytes)
        bytes.append(",\"session\":")
        bytes.append(decimal: session)
        bytes.append(0x7d)
        return bytes
    }

    /// Turns `prefix` and a frame's payload, the last bytes of `lines`, into a line; with any other outcome payload and prefix are left.
    ///
    /// - Parameter body: where in `lines` the payload begins.
    /// - Parameter time: microseconds since 1970, for an answer.
    package static func finish(_ lines: inout [UInt8], body: Int, time: Int64) -> Outcome {
        var brace = 0
        let outcome: Outcome = unsafe lines.withUnsafeBytes { all in
            let payload = unsafe UnsafeRawBufferPointer(rebasing: all[body...])
            do throws(MessageError) {
                let line = try unsafe Line.scan(payload)
                if line.isInner { return .refused("a node may not set 'hub'", isForged: true) }
                brace = line.index.inside - 1
                return isQuestion(line) ? .answer(answer(to: line, time: time)) : .line
            } catch {
                if error.code == .notJSON || error.code == .invalidUTF8 { return .invalid }
                // The fault was found before the end: what follows may still be no JSON.
                guard unsafe Line.isJSON(payload) else { return .invalid }
                let isForged = error.code == .misplacedEnvelope || error.member == "hub"
                return .refused(error.description, isForged: isForged)
            }
        }
        guard outcome == .line else { return outcome }
        lines[body + brace] = 0x2c
        while let last = lines.last, last == 0x0a || last == 0x20 || last == 0x0d || last == 0x09 { lines.removeLast() }
        replaceNewlines(&lines, from: body)
        lines.append(0x0a)
        return .line
    }

    /// In checked JSON a raw newline can only be white space, as in indented text; a line may hold none.
    private static func replaceNewlines(_ lines: inout [UInt8], from start: Int) {
        unsafe lines.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var at = start
            while let found = unsafe memchr(base + at, 0x0a, bytes.count - at) {
                at = unsafe UnsafeRawPointer(found) - UnsafeRawPointer(base)
                unsafe bytes[at] = 0x20
            }
        }
    }

    private static func isQuestion(_ line: Line) -> Bool {
        let operation = line.index.route.operation
        return line.equals(operation, "ping") || line.equals(operation, "pong") || line.equals(operation, "config")
    }

    /// KubeEdge's answer: same source, group and resource, operation `response`, content `"ack"`.
    private static func answer(to line: Line, time: Int64) -> [UInt8] {
        var output = Array("{\"header\":{\"msg_id\":".utf8)
        JSONText.appendString(MessageID.random().utf8, to: &output)
        append("parent_msg_id", line.index.header.messageID, of: line, to: &output)
        output.append(",\"timestamp\":")
        output.append(decimal: time / 1000)
        output.append("},\"route\":{\"operation\":\"response\"")
        append("source", line.index.route.source, of: line, to: &output)
        append("group", line.index.route.group, of: line, to: &output)
        append("resource", line.index.route.resource, of: line, to: &output)
        output.append("},\"content\":\"ack\"}\n")
        return output
    }

    private static func append(_ name: StaticString, _ field: Field, of line: Line, to output: inout [UInt8]) {
        guard field.isPresent else { return }
        output.append(",\"")
        output.append(name)
        output.append("\":\"")
        unsafe output.append(contentsOf: line.raw(field))
        output.append(0x22)
    }
}
