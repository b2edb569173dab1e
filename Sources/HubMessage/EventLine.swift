// Lines that the stages make themselves: events about connections (design: "An event is a full message too").

/// One event, ready to be written as an inner line.
package struct EventLine: Sendable, Equatable {
    package var event: EventKind
    package var node: String?
    package var session: Int64?
    package var reason: String?
    /// On `connected`: it only answers `who`.
    package var again = false
    package var messageID: String
    package var parentID: String?
    /// Microseconds since 1970.
    package var time: Int64
    /// Further members of `content`, as name and value.
    package var details: [(name: String, value: String)] = []

    package init(
        _ event: EventKind, node: String? = nil, session: Int64? = nil, reason: String? = nil, messageID: String = MessageID.random(),
        time: Int64
    ) {
        self.event = event
        self.node = node
        self.session = session
        self.reason = reason
        self.messageID = messageID
        self.time = time
    }

    package static func == (left: EventLine, right: EventLine) -> Bool {
        left.bytes == right.bytes
    }

    /// The line with its newline.
    package var bytes: [UInt8] {
        var output: [UInt8] = []
        append(to: &output)
        return output
    }

    package func append(to output: inout [UInt8]) {
        output.append("{\"hub\":{\"kind\":\"event\"")
        if let node { member("node", node, &output) }
        if let session {
            output.append(",\"session\":")
            output.append(decimal: session)
        }
        member("event", event.rawValue, &output)
        if again { output.append(",\"again\":true") }
        if let reason { member("reason", reason, &output) }
        output.append("},\"header\":{\"msg_id\":")
        JSONText.appendString(messageID.utf8, to: &output)
        if let parentID { member("parent_msg_id", parentID, &output) }
        output.append(",\"timestamp\":")
        output.append(decimal: time / 1000)
        output.append("},\"route\":{\"source\":\"cloudhub\",\"group\":\"resource\"")
        member("operation", event.rawValue, &output)
        member("resource", node.map { "node/\($0)" } ?? "node", &output)
        output.append("},\"content\":{\"event_type\":")
        JSONText.appendString(event.rawValue.utf8, to: &output)
        output.append(",\"timestamp\":")
        output.append(decimal: time / 1_000_000)
        if let node { member("client_id", node, &output) }
        for detail in details { member(detail.name, detail.value, &output) }
        output.append("}}\n")
    }

    private func member(_ name: StaticString, _ value: String, _ output: inout [UInt8]) {
        output.append(",\"")
        output.append(name)
        output.append("\":")
        JSONText.appendString(value.utf8, to: &output)
    }

    private func member(_ name: String, _ value: String, _ output: inout [UInt8]) {
        output.append(0x2c)
        JSONText.appendString(name.utf8, to: &output)
        output.append(0x3a)
        JSONText.appendString(value.utf8, to: &output)
    }
}

/// Message ids: random UUIDs (RFC 9562, version 4), as KubeEdge uses.
package enum MessageID {
    package static func random() -> String {
        var bytes: [UInt8] = []
        for _ in 0..<2 {
            var word = UInt64.random(in: .min ... .max)
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (position, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(position) { text.append(0x2d) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
