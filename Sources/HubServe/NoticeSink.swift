// Notices that peers can cause at will are passed on at a bounded rate.

internal import HubPipe
internal import Synchronization

/// Passes notices on; of those that peers can cause at will, 100 a second, and 50 of one address.
final class NoticeSink: Sendable {
    private let window = Mutex(RateWindow(all: 100, each: 50))
    private let counters: ServeCounters
    private let log: @Sendable (Notice) -> Void

    init(counters: ServeCounters, log: @escaping @Sendable (Notice) -> Void) {
        self.counters = counters
        self.log = log
    }

    /// Something that a peer caused; `remote` among the details tells which.
    func peer(_ level: Notice.Level, _ event: String, _ details: [String: String]) {
        let remote = details["remote"] ?? ""
        let address = remote.lastIndex(of: ":").map { String(remote[..<$0]) } ?? remote
        guard window.withLock({ $0.admits(address, now: monotonicNanoseconds()) }) else { return counters.add(.notLogged) }
        log(Notice(level, event, details))
    }

    /// Something of this program's own, which no peer can repeat at will.
    func own(_ level: Notice.Level, _ event: String, _ details: [String: String] = [:]) {
        log(Notice(level, event, details))
    }
}
