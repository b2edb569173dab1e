// What the library tells the program to log: it does not log itself.

internal import HubPipe
internal import Synchronization

/// One log line.
package struct ServeNotice: Sendable, Equatable {
    package enum Level: Sendable, Equatable {
        case debug
        case info
        case warning
        case error
    }

    package let level: Level
    /// Snake case, as in `event=connected`.
    package let event: String
    package let details: [String: String]

    package init(_ level: Level, _ event: String, _ details: [String: String] = [:]) {
        self.level = level
        self.event = event
        self.details = details
    }
}

/// Passes notices on; those that peers can cause at will only up to `perSecond`.
final class NoticeSink: Sendable {
    private static let perSecond = 100

    private let window = Mutex<(second: Int64, count: Int)>((0, 0))
    private let counters: ServeCounters
    private let log: @Sendable (ServeNotice) -> Void

    init(counters: ServeCounters, log: @escaping @Sendable (ServeNotice) -> Void) {
        self.counters = counters
        self.log = log
    }

    /// Something that a peer caused.
    func peer(_ level: ServeNotice.Level, _ event: String, _ details: [String: String]) {
        let second = monotonicNanoseconds() / 1_000_000_000
        let isWithin = window.withLock { window in
            if window.second != second { window = (second, 0) }
            window.count += 1
            return window.count <= Self.perSecond
        }
        guard isWithin else { return counters.add(.notLogged) }
        log(ServeNotice(level, event, details))
    }

    func own(_ level: ServeNotice.Level, _ event: String, _ details: [String: String] = [:]) {
        log(ServeNotice(level, event, details))
    }
}
