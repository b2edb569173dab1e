// One mapping of the file while it is read: which keys it has, which were asked for, which are left.

/// Values are checked as they are taken; a value of the wrong type or out of its range ends the reading.
final class ConfigSection {
    let path: String
    private let members: [String: ConfigNode.Member]
    private let order: [String]
    private var asked: Set<String> = []

    /// - Parameter node: nil and null count as a mapping without members, as for KubeEdge.
    init(_ node: ConfigNode?, path: String) throws(ConfigError) {
        self.path = path
        guard let node, !node.isNull else {
            members = [:]
            order = []
            return
        }
        guard case .mapping(let all) = node.value else {
            throw ConfigError(line: node.line, key: path.isEmpty ? nil : path, "must be a mapping of keys to values")
        }
        // Go's decoder takes keys in any case.
        members = Dictionary(uniqueKeysWithValues: all.map { ($0.key.lowercased(), $0) })
        order = all.map { $0.key.lowercased() }
    }

    func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    private func take(_ key: String) -> ConfigNode.Member? {
        asked.insert(key.lowercased())
        guard let member = members[key.lowercased()], !member.value.isNull else { return nil }
        return member
    }

    private func refusal(_ key: String, _ member: ConfigNode.Member, _ reason: String) -> ConfigError {
        ConfigError(line: member.line, key: name(key), reason)
    }

    func line(_ key: String) -> Int { members[key.lowercased()]?.line ?? 0 }

    func section(_ key: String) throws(ConfigError) -> ConfigSection {
        try ConfigSection(take(key)?.value, path: name(key))
    }

    /// Whether the key is there with a value; it counts as asked for.
    func has(_ key: String) -> Bool { take(key) != nil }

    func integer(_ key: String, _ range: ClosedRange<Int64>, unit: String = "") throws(ConfigError) -> Int64? {
        guard let member = take(key) else { return nil }
        guard let value = member.value.integer else {
            throw refusal(key, member, "must be a whole number\(unit.isEmpty ? "" : " of \(unit)")")
        }
        guard range.contains(value) else {
            throw refusal(key, member, "must lie between \(range.lowerBound) and \(range.upperBound), not \(value)")
        }
        return value
    }

    func truth(_ key: String) throws(ConfigError) -> Bool? {
        guard let member = take(key) else { return nil }
        guard let value = member.value.truth else { throw refusal(key, member, "must be true or false") }
        return value
    }

    /// Text that is not empty.
    func text(_ key: String, _ what: String, _ isGood: (String) -> Bool) throws(ConfigError) -> String? {
        guard let member = take(key) else { return nil }
        guard let value = member.value.text else { throw refusal(key, member, "must be \(what)") }
        guard !value.isEmpty else { return nil }
        guard isGood(value) else { throw refusal(key, member, "must be \(what), not '\(value)'") }
        return value
    }

    /// The texts of a list, without empty ones: KubeEdge's default for `dnsNames` is a list of one empty text.
    func texts(_ key: String, _ what: String, _ isGood: (String) -> Bool) throws(ConfigError) -> [String] {
        guard let member = take(key) else { return [] }
        guard case .sequence(let items) = member.value.value else { throw refusal(key, member, "must be a list") }
        var texts: [String] = []
        for item in items where !item.isNull {
            guard let text = item.text else { throw ConfigError(line: item.line, key: name(key), "each must be \(what)") }
            guard !text.isEmpty else { continue }
            guard isGood(text) else { throw ConfigError(line: item.line, key: name(key), "each must be \(what), not '\(text)'") }
            texts.append(text)
        }
        return texts
    }

    func sections(_ key: String) throws(ConfigError) -> [ConfigSection]? {
        guard let member = take(key) else { return nil }
        guard case .sequence(let items) = member.value.value else { throw refusal(key, member, "must be a list") }
        var sections: [ConfigSection] = []
        for (number, item) in items.enumerated() { sections.append(try ConfigSection(item, path: "\(name(key))[\(number)]")) }
        return sections
    }

    /// Keys that nobody has asked for, as they are written.
    var left: [(key: String, line: Int)] {
        order.filter { !asked.contains($0) }.compactMap { members[$0] }.map { (name($0.key), $0.line) }
    }
}
