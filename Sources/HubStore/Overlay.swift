// What the next commit will write, found by node and key: it hides what the file still says.

/// Items by hash, each with the ones of the same hash behind it.
struct Overlay<Item> {
    private var heads: [UInt64: Int] = [:]
    private var links: [Int] = []
    private(set) var items: [Item] = []

    var isEmpty: Bool { items.isEmpty }
    var count: Int { items.count }

    static func hash(_ node: Int64, _ keyHash: UInt64) -> UInt64 {
        keyHash ^ UInt64(bitPattern: node) &* 0x9e37_79b9_7f4a_7c15
    }

    /// The newest item under `hash` for which `isMeant` holds.
    func find(_ hash: UInt64, where isMeant: (Item) -> Bool) -> Int? {
        guard !items.isEmpty, var position = heads[hash] else { return nil }
        while position >= 0 {
            if isMeant(items[position]) { return position }
            position = links[position]
        }
        return nil
    }

    mutating func append(_ hash: UInt64, _ item: Item) {
        links.append(heads.updateValue(items.count, forKey: hash) ?? -1)
        items.append(item)
    }

    mutating func change(_ position: Int, _ body: (inout Item) -> Void) { body(&items[position]) }

    mutating func removeAll() {
        heads.removeAll(keepingCapacity: items.count < 65536)
        links.removeAll(keepingCapacity: items.count < 65536)
        items.removeAll(keepingCapacity: items.count < 65536)
    }
}
