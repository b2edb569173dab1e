// Schedules that the model checker found, shortened: each once broke a rule.

import Foundation
import Testing

@Suite struct RegressionTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let setup: @Sendable (inout Schedule.Setup) -> Void
        let steps: [Step]

        init(_ description: String, _ setup: @escaping @Sendable (inout Schedule.Setup) -> Void, _ steps: [Step]) {
            testDescription = description
            self.setup = setup
            self.steps = steps
        }

        init(_ description: String, _ steps: [Step]) { self.init(description, { _ in }, steps) }
    }

    private static func offer(
        _ key: Int, _ kind: Step.Kind = .update, _ delta: Int = 1, isMoved: Bool = false, padding: Int = 0
    ) -> Step {
        .offer(node: 0, key: key, kind: kind, delta: delta, isMoved: isMoved, padding: padding)
    }

    private static let connect = Step.connect(node: 0, isSwallowed: false)

    static let cases = [
        Case(
            "messages that wait behind one of their path do not keep others on disk", { $0.rules.window = 2 },
            [offer(2, .delete), offer(3), offer(1, .delete), offer(2, .deletePath), offer(5)]),
        Case(
            "a node that is deleted and comes back gets nothing before the deletion is committed", { $0.rules.window = 2 },
            [offer(1), .rest, .deleteNode(node: 0), connect, offer(0)]),
        Case(
            "an acknowledgement of what was lost in a crash is not taken for that of the next message",
            [
                offer(2), connect, .tick, .answerAll, .rest, offer(1, .deletePath), .tick, .crash(losesOutput: false, losesReceipts: false),
                .answerAll,
            ]),
        Case(
            "replies that wait for rows do not keep these on disk", { $0.rules.window = 1 },
            [offer(1), offer(3), offer(2), connect, .rest, .answerAll, offer(3, .reply), .rest, .answerAll, .rest, .answerAll]),
        Case(
            "a message that moves in the file can be read before that is committed",
            { $0.retained = 500 },
            [connect, offer(0, padding: 200), .rest, .lock(true), .answer(pick: 0, refuses: true, again: false), .wait(milliseconds: 1000)]),
        Case(
            "a message that has just left memory is seen by the next one of its key",
            [connect, offer(4), .reset, .tick, .tick, offer(4, .update, -1)]),
        Case(
            "a message that comes to stand behind another one of its path waits for it", { $0.rules.window = 1 },
            [connect, offer(0, isMoved: true), offer(1, .deletePath), offer(0, .update, 3), .rest, .wait(milliseconds: 60_000)]),
        Case(
            "nobody takes the place of a message that has moved to another path before that is committed", { $0.rules.window = 1 },
            [connect, offer(0, .forced, padding: 700), .rest, offer(0, isMoved: true), connect, offer(1)]),
        Case(
            "a message that is refused, replaced and acknowledged before its commit is not written",
            [connect, offer(0, .forced), .tick, .answer(pick: 0, refuses: true, again: false), offer(0), .tick, .answerAll]),
        Case(
            "a message does not take the place of one that is acknowledged before both are committed",
            [
                connect, offer(1, .forced), .tick, .answer(pick: 0, refuses: true, again: false), offer(1), .tick,
                .answerWho(leavesOut: 0, age: 0),
                .answerAll, offer(0, .deletePath), offer(1, .forced, 2),
            ]),
        Case(
            "a message that moves away lets go what stood behind it",
            {
                $0.rules.window = 2
                $0.rules.windowBytes = 900
            },
            [offer(4), offer(2, padding: 700), connect, offer(0, padding: 200), .rest, offer(2, isMoved: true), .rest]),
        Case(
            "a reply that goes because a newer message came makes room for the rows on disk", { $0.rules.window = 1 },
            [offer(0, isMoved: true), connect, offer(0, .reply, 0), .tick, offer(0), .rest]),
    ]

    @Test("a rule that was once broken holds", arguments: cases)
    func holds(_ item: Case) throws {
        let directory = NSTemporaryDirectory() + "hub-regression-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var setup = Schedule.Setup()
        setup.nodes = 1
        item.setup(&setup)
        try Checker(Schedule(setup: setup, steps: item.steps), directory: directory).run()
    }
}
