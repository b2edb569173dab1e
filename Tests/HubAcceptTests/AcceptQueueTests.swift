// Who is served next, and who has to go.

import HubAccept
import NIOCore
import Testing

@Suite("AcceptQueue")
struct AcceptQueueTests {
    private let flooder = AddressKey([127, 0, 0, 1])
    private let other = AddressKey([127, 0, 0, 2])

    private func queue(active: Int = 4, perAddress: Int = 2, waiting: Int = 3) -> AcceptQueue<Int> {
        AcceptQueue(limits: AcceptLimits(active: active, perAddress: perAddress, waiting: waiting, open: 100))
    }

    private func began(_ arrival: AcceptQueue<Int>.Arrival) -> Bool {
        if case .begin = arrival { true } else { false }
    }

    private func refused(_ arrival: AcceptQueue<Int>.Arrival) -> Int? {
        if case .refuse(let element) = arrival { element } else { nil }
    }

    @Test("one address gets its share of the places, another one begins at once")
    func share() {
        var queue = queue()
        let flood = (0..<4).map { began(queue.arrive($0, from: flooder)) }
        #expect(flood == [true, true, false, false])
        let next = queue.next()
        #expect(next == nil)
        let arrival = queue.arrive(9, from: other)
        #expect(began(arrival))
        #expect(queue.active == 3 && queue.waiting == 2)
    }

    @Test("those of one address go in the order in which they came")
    func order() {
        var queue = queue()
        for number in 0..<5 { _ = queue.arrive(number, from: flooder) }
        var served: [Int] = []
        for _ in 0..<3 {
            queue.ended(flooder)
            while let next = queue.next() { served.append(next) }
        }
        #expect(served == [2, 3, 4])
    }

    @Test("addresses take turns")
    func turns() {
        var queue = queue(active: 1, perAddress: 1, waiting: 10)
        _ = queue.arrive(0, from: flooder)
        for number in 1...3 { _ = queue.arrive(number, from: flooder) }
        _ = queue.arrive(10, from: other)
        queue.ended(flooder)
        var served: [Int] = []
        while let next = queue.next() {
            served.append(next)
            queue.ended(next == 10 ? other : flooder)
        }
        #expect(served.count == 4 && served.prefix(2).contains(10))
    }

    @Test("when too many wait, the address with the most of them loses its newest")
    func longest() {
        var queue = queue(active: 1)
        let flood = (0..<5).map { refused(queue.arrive($0, from: flooder)) }
        #expect(flood == [nil, nil, nil, nil, 4])
        let others = (10..<12).map { refused(queue.arrive($0, from: other)) }
        #expect(others == [3, 11])
        #expect(queue.waiting == 3)
    }

    @Test("a place for nobody to wait refuses at once")
    func noWaiting() {
        var queue = queue(perAddress: 1, waiting: 0)
        let first = (0..<2).map { refused(queue.arrive($0, from: flooder)) }
        #expect(first == [nil, 1])
        queue.ended(flooder)
        let next = queue.next()
        #expect(next == nil)
        let arrival = queue.arrive(2, from: flooder)
        #expect(began(arrival))
    }

    @Test("random lives: the bounds hold, nobody is lost, and in the end nothing is left", arguments: 0..<20)
    func lives(seed: UInt64) {
        var random = Random(state: seed &* 0x9e37_79b9_7f4a_7c15 | 1)
        var queue = queue(active: 5, perAddress: 2, waiting: 8)
        let keys = (0..<6).map { AddressKey([127, 0, 0, UInt8($0)]) }
        var owner: [Int: Int] = [:]
        var (served, waiting): (Set<Int>, Set<Int>) = ([], [])
        for number in 0..<2000 {
            switch random.next() % 3 {
            case 0, 1:
                let at = Int(random.next() % 6)
                owner[number] = at
                switch queue.arrive(number, from: keys[at]) {
                case .begin: served.insert(number)
                case .wait: waiting.insert(number)
                case .refuse(let refused):
                    waiting.insert(number)
                    let hasWaited = waiting.remove(refused) != nil
                    #expect(hasWaited)
                }
            default:
                if let gone = served.randomElement(using: &random), let at = owner[gone] {
                    served.remove(gone)
                    queue.ended(keys[at])
                }
            }
            while let next = queue.next() {
                let hasWaited = waiting.remove(next) != nil
                #expect(hasWaited)
                served.insert(next)
            }
            #expect(queue.active == served.count && served.count <= 5)
            #expect(queue.waiting == waiting.count && waiting.count <= 8)
            let shares = Dictionary(grouping: served) { owner[$0] ?? -1 }
            #expect(shares.values.allSatisfy { $0.count <= 2 })
            // Whoever waits has no place to go to.
            #expect(served.count == 5 || waiting.allSatisfy { (shares[owner[$0] ?? -1] ?? []).count == 2 })
        }
        let left = Set(queue.dropAll())
        #expect(left == waiting)
        for gone in served { queue.ended(keys[owner[gone] ?? 0]) }
        #expect(queue.addressCount == 0)
    }

    private struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state >> 8
        }
    }
}

@Suite("AddressKey")
struct AddressKeyTests {
    private func key(_ text: String) throws -> AddressKey { AddressKey(try SocketAddress(ipAddress: text, port: 1)) }

    @Test("an IPv4 address counts for itself, also when it comes by IPv6")
    func version4() throws {
        #expect(try key("127.0.0.1") == AddressKey([127, 0, 0, 1]))
        #expect(try key("127.0.0.1") != key("127.0.0.2"))
        #expect(try key("::ffff:127.0.0.1") == key("127.0.0.1"))
    }

    @Test("an IPv6 address counts for its /64")
    func version6() throws {
        #expect(try key("2001:db8::1") == key("2001:db8::ffff:1"))
        #expect(try key("2001:db8:0:1::1") != key("2001:db8::1"))
        #expect(try key("::7f00:1") != key("127.0.0.1"))
    }
}
