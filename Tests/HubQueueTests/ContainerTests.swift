// The tables that the queue is built on, against the standard library's.

import Testing

@testable import HubQueue

@Suite struct ContainerTests {
    @Test("a slot table holds what a list of pairs holds, also with equal hashes")
    func slotTable() {
        var random = SimulationTests.Random(state: 5)
        var table = SlotTable()
        var pairs: [(hash: UInt64, slot: Int32)] = []
        for step in 0..<20_000 {
            // Few hashes, and some that share their low bits.
            let hash = UInt64.random(in: 0..<40, using: &random) << (step % 3 == 0 ? 32 : 0)
            if Int.random(in: 0..<5, using: &random) < 3 || pairs.isEmpty {
                let slot = Int32(step)
                table.insert(hash, slot)
                pairs.append((hash, slot))
            } else {
                let position = Int.random(in: 0..<pairs.count, using: &random)
                let pair = pairs.remove(at: position)
                if step % 2 == 0 {
                    table.change(pair.hash, from: pair.slot, to: Int32(100_000 + step))
                    table.remove(pair.hash, Int32(100_000 + step))
                } else {
                    table.remove(pair.hash, pair.slot)
                }
                #expect(table.find(pair.hash) { $0 == pair.slot } == nil)
            }
            if pairs.count > 200 { for pair in pairs.prefix(150) { table.remove(pair.hash, pair.slot) } }
            if pairs.count > 200 { pairs.removeFirst(150) }
        }
        #expect(table.count == pairs.count)
        for pair in pairs { #expect(table.find(pair.hash) { $0 == pair.slot } == pair.slot) }
    }

    @Test("a heap gives the smallest first")
    func heap() {
        var random = SimulationTests.Random(state: 9)
        var heap = MinHeap<BackoffEnd>()
        for id in 0..<500 { heap.insert(BackoffEnd(time: Int64.random(in: 0..<100, using: &random), id: Int64(id), slot: 0)) }
        var previous: BackoffEnd?
        while let first = heap.first {
            if let previous { #expect(previous < first) }
            previous = first
            heap.removeFirst()
        }
        #expect(heap.isEmpty)
    }

    @Test("the hash of the state file's columns does not change")
    func hash() {
        // A changed value would make rows of existing files unfindable.
        #expect(ByteHash.of([]) == 16_325_314_592_318_339_460)
        #expect(ByteHash.of(Array("d9a972e4-d052-4d6e-99ff-c71b621e8781".utf8)) == 18_168_217_892_645_870_613)
        #expect(Set((0..<10_000).map { ByteHash.of(Array("default/pod/web-\($0)".utf8)) }).count == 10_000)
    }
}
