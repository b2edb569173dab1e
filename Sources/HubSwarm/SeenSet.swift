// Which messages have come before: a set of 64-bit hashes with a bound.
// With n messages the chance that any two share a hash is about n² / 2^65: one in three million at ten million messages.

/// A set of 64-bit values in one flat table. It takes at most 16 bytes per value, and up to three times that while it grows.
package struct SeenSet: Sendable {
    package enum Answer: Sendable, Equatable {
        case new
        case seen
        /// The set is full: the value is not among those that it holds, and is not remembered.
        case untracked
    }

    /// Most values that are remembered.
    package let limit: Int
    package private(set) var count = 0
    /// Zero marks a free place; the value zero is kept as `zeroStandIn`.
    private var table: [UInt64] = []
    private static let zeroStandIn: UInt64 = 0x9e37_79b9_7f4a_7c15

    package init(limit: Int) { self.limit = limit }

    /// Adds `value` unless it is there.
    package mutating func insert(_ value: UInt64) -> Answer {
        if table.isEmpty { table = [UInt64](repeating: 0, count: 1024) }
        let key = value == 0 ? Self.zeroStandIn : value
        var place = Int(truncatingIfNeeded: key) & (table.count - 1)
        while table[place] != 0 {
            if table[place] == key { return .seen }
            place = (place + 1) & (table.count - 1)
        }
        guard count < limit else { return .untracked }
        table[place] = key
        count += 1
        if count * 2 > table.count { grow() }
        return .new
    }

    private mutating func grow() {
        var larger = [UInt64](repeating: 0, count: table.count * 2)
        for key in table where key != 0 {
            var place = Int(truncatingIfNeeded: key) & (larger.count - 1)
            while larger[place] != 0 { place = (place + 1) & (larger.count - 1) }
            larger[place] = key
        }
        table = larger
    }
}

/// A 64-bit hash over several byte ranges, eight bytes at a time. Not for enemies: it has no secret.
package struct MessageHash: Sendable {
    private var state: UInt64

    package init(_ seed: UInt64 = 0) {
        state = 0x2545_f491_4f6c_dd1d
        // Mixed, not just put in: the first bytes that are added could undo an exclusive or.
        mix(seed)
    }

    /// Adds `bytes` and their length, so that ("ab", "c") and ("a", "bc") differ.
    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        var at = 0
        while at + 8 <= bytes.count {
            mix(unsafe bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            at += 8
        }
        var rest: UInt64 = 0
        while at < bytes.count {
            rest = unsafe rest << 8 | UInt64(bytes[at])
            at += 1
        }
        mix(rest)
        mix(UInt64(truncatingIfNeeded: bytes.count))
    }

    package mutating func add(_ number: UInt64) { mix(number) }

    package var value: UInt64 {
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    private mutating func mix(_ word: UInt64) {
        let product = (state ^ word).multipliedFullWidth(by: 0x9e37_79b9_7f4a_7c15)
        state = product.high ^ product.low &+ 0xd6e8_feb8_6659_fd93
    }
}
