// Where a server listens, as a user writes it.

package struct Endpoint: Sendable, Equatable, CustomStringConvertible {
    package let host: String
    package let port: Int

    /// `127.0.0.1:10000`, `[::1]:10000`, `hub.example:10000`; one of `schemes` may stand before it, and a slash after it.
    package init?(_ text: String, schemes: [String], defaultPort: Int) {
        var rest = text[...]
        if let scheme = schemes.first(where: { rest.hasPrefix("\($0)://") }) { rest = rest.dropFirst(scheme.count + 3) }
        while rest.hasSuffix("/") { rest = rest.dropLast() }
        var name = rest
        var number: Substring?
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            name = rest[rest.index(after: rest.startIndex)..<end]
            let after = rest[rest.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { return nil }
            number = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = rest.firstIndex(of: ":") {
            name = rest[..<colon]
            number = rest[rest.index(after: colon)...]
        }
        let isName = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x2f && $0 != 0x40 }
        guard !name.isEmpty, isName else { return nil }
        guard let port = number.map({ Int($0) }) ?? defaultPort, (1...65_535).contains(port) else { return nil }
        host = String(name)
        self.port = port
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
