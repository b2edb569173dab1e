// A YAML file as one tree, within bounds: its depth, and how many nodes it has when each alias is counted as what it stands for. So nine
// aliases of nine aliases, nine times over, end as soon as they are too many. Tags, merge keys and a second document are refused: nobody
// writes them into this file, and reading them otherwise than KubeEdge does would be worse.

package struct YAMLDocument: ~Copyable {
    package static let maxDepth = 32
    package static let maxNodes = 20_000

    private var events: YAMLEvents
    private var anchors: [String: ConfigNode] = [:]
    private var nodes = 0

    /// - Returns: nil for a file without a document.
    package static func read(_ bytes: [UInt8]) throws(ConfigError) -> ConfigNode? {
        var document = YAMLDocument(events: try YAMLEvents.open(bytes))
        return try document.root()
    }

    private init(events: consuming YAMLEvents) { self.events = events }

    private mutating func root() throws(ConfigError) -> ConfigNode? {
        var root: ConfigNode?
        while true {
            let item = try events.next()
            switch item.event {
            case .endStream: return root
            case .beginDocument:
                guard root == nil else { throw ConfigError(line: item.line, "a second document; the file must hold one") }
            case .other: continue
            default: root = try node(item, depth: 1)
            }
        }
    }

    private mutating func node(_ item: YAMLEvents.Item, depth: Int) throws(ConfigError) -> ConfigNode {
        guard depth <= Self.maxDepth else { throw ConfigError(line: item.line, "nested deeper than \(Self.maxDepth)") }
        guard !item.hasTag else { throw ConfigError(line: item.line, "a tag, which is not read here") }
        try count(1, item.line)
        let node: ConfigNode
        switch item.event {
        case .scalar(let text, let isPlain): node = ConfigNode(line: item.line, .scalar(text, isPlain: isPlain))
        case .beginSequence: node = ConfigNode(line: item.line, .sequence(try sequence(depth)))
        case .beginMapping: node = ConfigNode(line: item.line, .mapping(try mapping(depth)))
        case .alias(let name):
            // An anchor is known once its node is complete, so that nothing can contain itself.
            guard let target = anchors[name] else { throw ConfigError(line: item.line, "the alias *\(name) has no anchor before it") }
            try count(target.size - 1, item.line)
            return target
        case .end, .beginDocument, .endStream, .other: throw ConfigError(line: item.line, "this is no YAML: a value is missing")
        }
        if let name = item.anchor { anchors[name] = node }
        return node
    }

    private mutating func count(_ more: Int, _ line: Int) throws(ConfigError) {
        nodes += more
        guard nodes <= Self.maxNodes else { throw ConfigError(line: line, "more than \(Self.maxNodes) values, aliases included") }
    }

    private mutating func sequence(_ depth: Int) throws(ConfigError) -> [ConfigNode] {
        var items: [ConfigNode] = []
        while true {
            let item = try events.next()
            if case .end = item.event { return items }
            items.append(try node(item, depth: depth + 1))
        }
    }

    private mutating func mapping(_ depth: Int) throws(ConfigError) -> [ConfigNode.Member] {
        var members: [ConfigNode.Member] = []
        var keys: Set<String> = []
        while true {
            let item = try events.next()
            if case .end = item.event { return members }
            guard case .scalar(let key, _) = try node(item, depth: depth + 1).value else {
                throw ConfigError(line: item.line, "a key must be a word")
            }
            guard key != "<<" else { throw ConfigError(line: item.line, "a merge key, which is not read here") }
            // Go's decoder takes keys in any case, so two that differ in case alone are one key too.
            guard keys.insert(key.lowercased()).inserted else { throw ConfigError(line: item.line, "the key '\(key)' comes twice") }
            let value = try node(try events.next(), depth: depth + 1)
            members.append(ConfigNode.Member(key: key, line: item.line, value: value))
        }
    }
}
