// Random lives of a few nodes, with crashes: what must hold whatever happens.

import HubQueue
import Testing

@Suite struct SimulationTests {
    /// A small generator with a seed, so that a failure can be repeated.
    struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state ^ state >> 29) &* 0xbf58_476d_1ce4_e5b9
        }
    }

    private let nodes = ["a", "b", "c"]

    @Test("no node is taken back, nothing is lost, windows and orders hold", arguments: 0..<60)
    func lives(seed: Int) {
        var random = Random(state: UInt64(seed) &* 7919 &+ 1)
        var queue = TestQueue {
            $0.window = 1 + seed % 5
            $0.attempts = 1 + seed % 3
            $0.heldPerNode = seed % 2 == 0 ? 4 : 1000
        }
        queue.commitsAtOnce = false
        var number = 0
        var session: Int64 = 0
        /// The newest message of each node and path that the queue has committed, and what each node has of it.
        var newest: [String: Int] = [:]
        var has: [String: Int] = [:]
        var uncommitted: [String: Int] = [:]
        var generations: [String: Int] = [:]
        var seen = 0
        var unanswered: [(node: String, id: String)] = []

        func takeSent() {
            for sent in queue.sent.dropFirst(seen) {
                let parts = sent.id.split(separator: "-")
                let place = "\(sent.node)/\(parts[0])"
                let version = Int(parts[1]) ?? 0
                #expect(version >= has[place] ?? 0, "\(sent) after \(has[place] ?? 0), seed \(seed)")
                has[place] = version
                unanswered.append((sent.node, sent.id))
            }
            seen = queue.sent.count
        }

        for _ in 0..<400 {
            let node = nodes.randomElement(using: &random) ?? "a"
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<40:
                number += 1
                let path = Int.random(in: 0..<3, using: &random) > 0 ? "k\(Int.random(in: 0..<6, using: &random))" : "shared"
                var generation = generations["\(node)/\(path)"] ?? 0
                // Objects of one name follow each other: the old one is deleted before the new one comes.
                if path == "shared", Int.random(in: 0..<3, using: &random) == 0 {
                    queue.cloud(Lines.delete(node, "\(path)\(generation)", "\(path)-\(number)", path: path))
                    generation += 1
                    generations["\(node)/\(path)"] = generation
                    number += 1
                }
                queue.cloud(Lines.ack(node, "\(path)\(generation)", "\(number)", "\(path)-\(number)", path: path))
                uncommitted["\(node)/\(path)"] = number
            case 40..<65:
                if let position = unanswered.indices.randomElement(using: &random) {
                    let answer = unanswered.remove(at: position)
                    if Int.random(in: 0..<10, using: &random) == 0 {
                        queue.refuse(answer.node, answer.id)
                    } else {
                        queue.acknowledge(answer.node, answer.id)
                    }
                }
            case 65..<75:
                session += 1
                queue.connect(node, session)
            case 75..<78: queue.disconnect(node, session)
            case 78..<88:
                queue.commit()
                newest.merge(uncommitted) { $1 }
                uncommitted = [:]
            case 88..<95: queue.wait(Double.random(in: 0..<7, using: &random))
            case 95..<98: queue.park(Int.random(in: 1..<4, using: &random))
            default:
                queue.crash()
                uncommitted = [:]
                // What a node got of uncommitted messages it has; the cloud sends those again.
                for (place, version) in has where version > newest[place] ?? 0 { newest[place] = version }
            }
            takeSent()
        }
        // In the end everything is delivered and acknowledged.
        queue.commit()
        newest.merge(uncommitted) { $1 }
        for node in nodes { queue.connect(node, session + 10) }
        for _ in 0..<400 where !queue.disk.rows.isEmpty {
            takeSent()
            for answer in unanswered { queue.acknowledge(answer.node, answer.id) }
            unanswered = []
            queue.commit()
            queue.wait(1)
        }
        takeSent()
        #expect(queue.disk.rows.isEmpty, "seed \(seed)")
        #expect(has == newest, "seed \(seed)")
        #expect(queue.machine.isDrained)
    }
}
