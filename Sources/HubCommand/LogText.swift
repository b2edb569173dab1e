// How a log line looks: `level=info event=connected node=edge-0`, or one JSON object with the same members.

internal import HubPipe
package import Logging

package enum LogFormat: String, Sendable, CaseIterable {
    case text
    case json
}

/// Rendering of log lines. Peer text cannot break out of its line or its value.
package enum LogText {
    /// One log line without its newline. Members follow in alphabetical order, after level and event.
    package static func render(_ format: LogFormat, _ level: Logger.Level, _ event: String, _ members: Logger.Metadata) -> String {
        let ordered = members.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        let all = [("level", name(level)), ("event", event)] + ordered
        switch format {
        case .text: return all.map { "\($0.0)=\(value($0.1))" }.joined(separator: " ")
        case .json: return "{" + all.map { "\(quoted($0.0)):\(quoted($0.1))" }.joined(separator: ",") + "}"
        }
    }

    /// `text` with control characters and line separators escaped.
    package static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: mustEscape) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if mustEscape(scalar) { appendEscape(scalar, to: &result) } else { result.unicodeScalars.append(scalar) }
        }
        return result
    }

    /// A JSON string literal of `text`.
    package static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            default:
                if mustEscape(scalar) { appendEscape(scalar, to: &result) } else { result.unicodeScalars.append(scalar) }
            }
        }
        return result + "\""
    }

    private static func name(_ level: Logger.Level) -> String {
        level == .warning ? "warn" : level.rawValue
    }

    private static func value(_ text: String) -> String {
        let plain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { !mustEscape($0) && $0 != " " && $0 != "\"" && $0 != "=" && $0 != "\\" }
        return plain ? text : quoted(text)
    }

    /// Controls of C0 and C1, DEL, the line separators, and the bidirectional controls, which can reorder a terminal's line.
    private static func mustEscape(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0, 0x2028, 0x2029, 0x202a...0x202e, 0x2066...0x2069: true
        default: false
        }
    }

    private static func appendEscape(_ scalar: Unicode.Scalar, to text: inout String) {
        switch scalar {
        case "\n": text += "\\n"
        case "\t": text += "\\t"
        case "\r": text += "\\r"
        default:
            let digits = String(scalar.value, radix: 16)
            text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
    }
}

/// Standard error as a place for whole lines: each line is one `write`, so that lines of several stages do not mix.
package enum StandardError {
    package static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            guard let count = RawDescriptor.writeSome(2, bytes) else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

/// The swift-log backend of the programs: one line per event on standard error, the message is the event's name.
struct LineLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    let format: LogFormat

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let members = event.metadata.map { metadata.merging($0) { _, new in new } } ?? metadata
        StandardError.write(LogText.render(format, event.level, event.message.description, members) + "\n")
    }
}
