// New names for recorded nodes, and how often each of their lines is played.

/// `FROM=TO`: the lines of FROM, or of every node when FROM is `*`, are played for TO. `{}` in TO is the number of the copy.
package struct Rename: Sendable, Equatable {
    /// Nil for every node.
    package let from: [UInt8]?
    package let to: String

    package init?(_ text: String) {
        guard let equals = text.firstIndex(of: "=") else { return nil }
        let from = text[..<equals]
        to = String(text[text.index(after: equals)...])
        guard !from.isEmpty, !to.isEmpty else { return nil }
        self.from = from == "*" ? nil : Array(from.utf8)
    }

    /// TO differs from copy to copy.
    package var isNumbered: Bool { to.contains("{}") }

    /// The name of one copy.
    package func name(_ copy: Int) -> [UInt8] {
        var name = ""
        var rest = to[...]
        while let first = rest.first {
            if rest.hasPrefix("{}") {
                name += "\(copy)"
                rest = rest.dropFirst(2)
            } else {
                name.append(first)
                rest = rest.dropFirst()
            }
        }
        return Array(name.utf8)
    }
}
