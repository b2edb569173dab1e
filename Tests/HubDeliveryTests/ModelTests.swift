// The model checker: random schedules of all that can happen to hub-queue, each compared with the reference model.
//
// HUB_MODEL_SCHEDULES  how many schedules (default 10000, about two minutes in a debug build)
// HUB_MODEL_SEED       the seed of the first one (default 1); a failure names the seed that repeats it, alone, with HUB_MODEL_SCHEDULES=1
// HUB_MODEL_DIRECTORY  where the state files lie while it runs (default /dev/shm, or the directory for temporary files)

import Foundation
import Synchronization
import Testing

@Suite struct ModelTests {
    private static let workers = max(1, min(8, ProcessInfo.processInfo.activeProcessorCount))
    private static let first = number("HUB_MODEL_SEED") ?? 1
    private static let count = number("HUB_MODEL_SCHEDULES") ?? 10_000

    private static func number(_ name: String) -> UInt64? { ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) } }

    /// In memory where there is such a place: what is checked is the order of commits, not the disk.
    private static let place =
        ProcessInfo.processInfo.environment["HUB_MODEL_DIRECTORY"]
        ?? (FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory())
    /// One failure is enough: the other workers stop.
    private static let hasFailed = Atomic(false)

    @Test("whatever happens, the queue does what the rules say", arguments: 0..<workers)
    func schedules(worker: Int) throws {
        let directory = "\(Self.place)/hub-model-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var seed = Self.first + UInt64(worker)
        while seed < Self.first + Self.count, !Self.hasFailed.load(ordering: .relaxed) {
            let schedule = Schedule(seed: seed)
            if let problem = Self.problem(schedule, directory) {
                Self.hasFailed.store(true, ordering: .relaxed)
                Issue.record("\(Self.report(seed, schedule, problem, directory))")
                return
            }
            seed += UInt64(Self.workers)
        }
    }

    /// Runs a schedule.
    /// - Returns: the rule that was broken.
    private static func problem(_ schedule: Schedule, _ directory: String) -> String? {
        try? FileManager.default.removeItem(atPath: directory)
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try Checker(schedule, directory: directory).run()
            return nil
        } catch {
            return "\(error)"
        }
    }

    private static func report(_ seed: UInt64, _ schedule: Schedule, _ problem: String, _ directory: String) -> String {
        var steps = schedule.steps
        var problem = problem
        // Drops as many steps as can go: first large pieces, then single ones.
        var size = max(1, steps.count / 2)
        while true {
            var start = 0
            while start < steps.count {
                var fewer = steps
                fewer.removeSubrange(start..<min(start + size, steps.count))
                if let still = Self.problem(Schedule(setup: schedule.setup, steps: fewer), directory) {
                    steps = fewer
                    problem = still
                } else {
                    start += size
                }
            }
            if size == 1 { break }
            size = max(1, size / 2)
        }
        var trace: [String] = []
        do {
            try? FileManager.default.removeItem(atPath: directory)
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let checker = try Checker(Schedule(setup: schedule.setup, steps: steps), directory: directory, isTracing: true)
            defer { trace = checker.trace ?? [] }
            try checker.run()
        } catch {
            problem = "\(error)"
        }
        return """
            \(problem)
            to repeat: HUB_MODEL_SEED=\(seed) HUB_MODEL_SCHEDULES=1 swift test --filter ModelTests
            \(schedule.setup)
            \(steps.count) of \(schedule.steps.count) steps are enough:
            \(trace.joined(separator: "\n"))
            """
    }
}
