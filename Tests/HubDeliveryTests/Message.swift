// One message as the producer offers it.

struct Message: Equatable, Sendable {
    /// The producer's own count.
    var serial = 0
    var node = ""
    var key = ""
    /// As written: leading zeros, or empty.
    var version = ""
    var path = ""
    var operation = "update"
    var isForced = false
    var isReply = false
    var padding = 0

    var id: String { "m\(serial)" }
    /// What is pending under one of these is replaced by the next; a deletion by path stands for itself.
    var place: String { isDelete && key == path ? "\(key) \(id)" : key }
    var isDelete: Bool { operation == "delete" }

    /// Digits without leading zeros.
    var number: String {
        let digits = version.drop { $0 == "0" }
        return digits.isEmpty && !version.isEmpty ? "0" : String(digits)
    }

    /// Versions are unsigned integers of any length; none is lower than any.
    static func isHigher(_ left: String, _ right: String) -> Bool {
        left.utf8.count != right.utf8.count ? left.utf8.count > right.utf8.count : left > right
    }

    /// The line as hub-dispatch down writes it, without its newline.
    var line: String {
        let number = version.isEmpty ? "" : ",\"version\":\"\(version)\""
        let flags = (isForced ? ",\"force\":true" : "") + (isReply ? ",\"reply\":true" : "")
        return """
            {"hub":{"kind":"ack","node":"\(node)","key":"\(key)"\(number)\(flags),"object":{"kind":"X"}},"header":{"msg_id":"\(id)"},\
            "route":{"group":"resource","operation":"\(operation)","resource":"\(path)"},"content":"\(String(repeating: "x", count: padding))"}
            """
    }
}

/// A rule that was broken.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
