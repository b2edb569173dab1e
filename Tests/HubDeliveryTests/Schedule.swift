// A schedule: how the queue is set up, and the steps that it lives through, all from one number.

import HubQueue

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func one<Element>(of items: [Element]) -> Element { items[below(items.count)] }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

struct Schedule {
    struct Setup: CustomStringConvertible {
        var rules = ReferenceModel.Rules()
        var nodes = 2
        var keys = 4
        /// Memory is short.
        var isTight = false
        var maxMemory = 256 << 20
        var retained = 64 << 20
        var parkAtOnce = 256
        var fullAt = 256 << 10
        var commitDelay: Int64 = 5_000_000

        var description: String {
            """
            \(nodes) nodes, \(keys) keys, window \(rules.window) and \(rules.windowBytes) bytes, timeout \(rules.ackTimeout / 1_000_000) ms, \
            \(rules.attempts) attempts, memory \(maxMemory) and \(retained) retained, parking \(parkAtOnce), output \(fullAt)
            """
        }
    }

    var setup = Setup()
    var steps: [Step] = []
    /// Of a hundred answers, how many refuse.
    private var refusals = 12

    init(setup: Setup, steps: [Step]) {
        self.setup = setup
        self.steps = steps
    }

    init(seed: UInt64) {
        var random = SeededRandom(seed)
        setup.nodes = 1 + random.below(3)
        setup.keys = 1 + random.below(6)
        setup.rules.window = random.one(of: [1, 2, 2, 3, 4, 64])
        setup.rules.windowBytes = random.one(of: [500, 900, 1 << 20, 1 << 20])
        setup.rules.ackTimeout = random.one(of: [50_000_000, 1_000_000_000, 5_000_000_000])
        setup.rules.attempts = random.one(of: [1, 2, 3, 5])
        setup.isTight = random.chance(35)
        if setup.isTight { setup.maxMemory = random.one(of: [1, 1500, 3000]) }
        setup.retained = random.one(of: [0, 500, 64 << 20])
        setup.parkAtOnce = random.one(of: [1, 2, 256])
        setup.fullAt = random.one(of: [600, 2000, 256 << 10])
        setup.commitDelay = random.one(of: [0, 5_000_000, 1_000_000_000])
        var weights = (0..<Self.actions).map { _ in random.one(of: [0, 1, 1, 2, 4]) }
        // Some schedules are about one object or two, in a queue that hardly comes to rest, at a node that answers at once and refuses
        // half of what it gets: what needs several messages and answers between two commits is hardly found elsewhere.
        let isNarrow = random.chance(20)
        if isNarrow {
            setup.nodes = 1
            setup.keys = 1 + random.below(2)
            for action in [0, 9, 10] { weights[action] = 12 }
        }
        refusals = isNarrow ? 50 : 12
        let ticks = isNarrow ? 80 : 35
        let count = 20 + random.below(130)
        // Most schedules begin with somebody online.
        if random.chance(70) { steps.append(.connect(node: 0, isSwallowed: false)) }
        while steps.count < count {
            steps.append(step(&random, weights))
            if random.chance(ticks) { steps.append(.tick) } else if random.chance(45) { steps.append(.rest) }
        }
    }

    private static let actions = 16

    private func step(_ random: inout SeededRandom, _ weights: [Int]) -> Step {
        let base = [30, 2, 1, 5, 2, 2, 1, 1, 2, 14, 8, 4, 8, 2, 3, 3]
        let all = zip(base, weights).map { $0 * ($1 + 1) }
        var pick = random.below(all.reduce(0, +))
        var action = 0
        while pick >= all[action] {
            pick -= all[action]
            action += 1
        }
        let node = random.below(setup.nodes)
        switch action {
        case 0: return offer(&random, node)
        case 1: return .once(node: node, fromFeedback: random.chance(30))
        case 2: return .deleteNode(node: node)
        case 3: return .connect(node: node, isSwallowed: random.chance(10))
        case 4: return .disconnect(node: node, isSwallowed: random.chance(10))
        case 5: return .strayConnect(node: node, delta: random.below(4) - 2)
        case 6: return .strayDisconnect(node: node, delta: random.below(4) - 2)
        case 7: return .reset
        case 8: return .answerWho(leavesOut: random.below(setup.nodes * 3), age: random.one(of: [0, 0, 0, 0, 1, 9]))
        case 9: return .answer(pick: random.below(1000), refuses: random.chance(refusals), again: random.chance(15))
        case 10: return .answerAll
        case 11: return .strange(node: node, pick: random.below(1000), refuses: random.chance(25))
        case 12: return .wait(milliseconds: random.one(of: [1, 20, 50, 300, 1000, 1000, 5000, 5000, 30_000, 400_000]))
        case 13: return random.chance(50) ? .stall(random.chance(50)) : .lock(random.chance(50))
        case 14: return .hold(milliseconds: random.one(of: [1, 6, 50, 1000, 5000, 40_000]))
        default:
            return random.chance(85) ? .crash(losesOutput: random.chance(40), losesReceipts: random.chance(40)) : .stop
        }
    }

    private func offer(_ random: inout SeededRandom, _ node: Int) -> Step {
        let kind = random.one(of: [.update, .update, .update, .update, .update, .delete, .deletePath, .forced, .reply] as [Step.Kind])
        return .offer(
            node: node, key: random.below(setup.keys), kind: kind, delta: random.one(of: [1, 1, 1, 1, 2, 3, 0, -1, -3]),
            isMoved: random.chance(4), padding: random.one(of: [0, 0, 0, 40, 200, 700]))
    }
}
