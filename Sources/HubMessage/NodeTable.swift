// Small integers for node names, so that hot paths index arrays instead of hashing strings.

/// Gives each name an id. Ids are dense: a removed name's id is given to the next new name.
package struct NodeTable: Sendable {
    /// Open addressing with linear probing; an id plus one, 0 for an empty slot. The count is a power of two.
    private var slots: [UInt32]
    private var names: [[UInt8]] = []
    private var hashes: [UInt64] = []
    private var free: [Int] = []
    private let seed = UInt64.random(in: .min ... .max)

    package init() {
        slots = [UInt32](repeating: 0, count: 64)
    }

    /// Number of names.
    package var count: Int { names.count - free.count }

    /// Ids lie below this number.
    package var capacity: Int { names.count }

    /// The id of `name`, nil when it has none.
    package func find(_ name: UnsafeRawBufferPointer) -> Int? {
        let hash = unsafe hash(name)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 {
            let id = Int(slots[slot]) - 1
            if hashes[id] == hash, unsafe names[id].withUnsafeBytes({ unsafe JSONText.equal($0, name) }) { return id }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// The id of `name`, a new one if it had none.
    package mutating func intern(_ name: UnsafeRawBufferPointer) -> Int {
        if let id = unsafe find(name) { return id }
        let value = unsafe [UInt8](name)
        let hash = unsafe hash(name)
        let id: Int
        if let reused = free.popLast() {
            id = reused
            names[id] = value
            hashes[id] = hash
        } else {
            id = names.count
            names.append(value)
            hashes.append(hash)
        }
        if count * 2 > slots.count {
            grow()
        } else {
            place(id)
        }
        return id
    }

    /// The name with this id.
    package func name(_ id: Int) -> String { String(decoding: names[id], as: UTF8.self) }

    /// The name's bytes.
    package func bytes(_ id: Int) -> [UInt8] { names[id] }

    /// Forgets the name with this id.
    package mutating func remove(_ id: Int) {
        var slot = Int(truncatingIfNeeded: hashes[id]) & (slots.count - 1)
        while slots[slot] != UInt32(id + 1) {
            guard slots[slot] != 0 else { return }
            slot = (slot + 1) & (slots.count - 1)
        }
        slots[slot] = 0
        // Names that had to step over this slot are placed again.
        var next = (slot + 1) & (slots.count - 1)
        while slots[next] != 0 {
            let moved = Int(slots[next]) - 1
            slots[next] = 0
            place(moved)
            next = (next + 1) & (slots.count - 1)
        }
        names[id] = []
        free.append(id)
    }

    private mutating func place(_ id: Int) {
        var slot = Int(truncatingIfNeeded: hashes[id]) & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = UInt32(id + 1)
    }

    private mutating func grow() {
        let unused = Set(free)
        slots = [UInt32](repeating: 0, count: slots.count * 2)
        for id in names.indices where !unused.contains(id) { place(id) }
    }

    /// FNV-1a from a random start, with a final mix; names come from certificates, but still should not be chosen to collide.
    private func hash(_ name: UnsafeRawBufferPointer) -> UInt64 {
        var hash = seed
        for index in 0..<name.count { hash = unsafe (hash ^ UInt64(name[index])) &* 0x100_0000_01b3 }
        hash ^= hash >> 29
        return hash &* 0x9e37_79b9_7f4a_7c15 ^ hash >> 32
    }
}
