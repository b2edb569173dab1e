import Testing

@testable import HubSwarm

@Suite("Which messages have come before")
struct SeenSetTests {
    @Test("a value is new once, zero too")
    func once() {
        var set = SeenSet(limit: 1_000_000)
        var random = FastRandom(seed: 1)
        let values = [0] + (0..<50_000).map { _ in random.next() }
        #expect(values.allSatisfy { set.insert($0) == .new })
        #expect(values.allSatisfy { set.insert($0) == .seen })
        #expect(set.count == values.count)
    }

    @Test("values that fall on the same place are told apart")
    func collisions() {
        var set = SeenSet(limit: 10_000)
        for value in 0..<5000 { #expect(set.insert(UInt64(value) << 32 | 5) == .new) }
        for value in 0..<5000 { #expect(set.insert(UInt64(value) << 32 | 5) == .seen) }
    }

    @Test("a full set remembers no more, and says so")
    func full() {
        var set = SeenSet(limit: 3)
        for value in 1...3 { #expect(set.insert(UInt64(value)) == .new) }
        #expect(set.insert(4) == .untracked)
        #expect(set.insert(4) == .untracked)
        #expect(set.insert(2) == .seen)
        var none = SeenSet(limit: 0)
        #expect(none.insert(1) == .untracked)
    }

    @Test("the hash tells where one field ends and the next begins")
    func boundaries() {
        func hash(_ parts: String...) -> UInt64 {
            var hash = MessageHash(1)
            for part in parts {
                let bytes = Array(part.utf8)
                unsafe bytes.withUnsafeBytes { unsafe hash.add($0) }
            }
            return hash.value
        }
        let hashes = [
            hash("ab", "c"), hash("a", "bc"), hash("abc"), hash("abc", ""), hash("", "abc"), hash("abcdefgh"), hash("abcdefgh", ""),
            hash("abcdefg", "h"), hash("abcdefgh\0"), hash("abcdefgh\0\0"), hash("\0"), hash(""), hash("\0\0"), hash("a"), hash("\0b"),
        ]
        #expect(Set(hashes).count == hashes.count)
        #expect(hash("uid-1", "10") == hash("uid-1", "10"))
    }

    @Test(
        "200,000 similar identities have as many hashes",
        arguments: ["", "\0", "uid-", "uid-000", "uid-0000", "78ce2b97-0000-4000-8000-000000000000"])
    func spread(prefix: String) {
        var set = SeenSet(limit: 2_000_000)
        for node in 0..<100 {
            for version in 0..<2000 {
                var hash = MessageHash(UInt64(node))
                for part in [prefix + String(version), "1"] {
                    let bytes = Array(part.utf8)
                    unsafe bytes.withUnsafeBytes { unsafe hash.add($0) }
                }
                #expect(set.insert(hash.value) == .new)
            }
        }
    }
}
