// Notices that peers can cause at will are passed on at a bounded rate.

internal import HubPipe
internal import Synchronization

/// Passes notices on; those that peers can cause at will only up to `perSecond`.
final class NoticeSink: Sendable {
    private static let perSecond = 100

    private let window = Mutex<(second: Int64, count: Int)>((0, 0))
    private let counters: ServeCounters
    private let log: @Sendable (Notice) -> Void

    init(counters: ServeCounters, log: @escaping @Sendable (Notice) -> Void) {
        self.counters = counters
        self.log = log
    }

    /// Something that a peer caused.
    func peer(_ level: Notice.Level, _ event: String, _ details: [String: String]) {
        let second = monotonicNanoseconds() / 1_000_000_000
        let isWithin = window.withLock { window in
            if window.second != second { window = (second, 0) }
            window.count += 1
            return window.count <= Self.perSecond
        }
        guard isWithin else { return counters.add(.notLogged) }
        log(Notice(level, event, details))
    }

    func own(_ level: Notice.Level, _ event: String, _ details: [String: String] = [:]) {
        log(Notice(level, event, details))
    }
}
