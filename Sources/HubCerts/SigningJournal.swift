// Records of signatures on their way to the disk. One write is under way at a time; what comes meanwhile shares the next one.

internal import HubPipe
internal import HubTLS
internal import NIOCore
internal import NIOPosix

/// Belongs to one event loop.
final class SigningJournal {
    private let log: IssuedLog
    private let eventLoop: any EventLoop
    private let pool: NIOThreadPool
    private let notify: (Notice) -> Void
    private var lines: [UInt8] = []
    /// Each has a connection that waits for it.
    private var waiting: [(Bool) -> Void] = []
    private var isWriting = false
    private var hasFailed = false

    init(log: IssuedLog, eventLoop: any EventLoop, pool: NIOThreadPool, notify: @escaping (Notice) -> Void) {
        self.log = log
        self.eventLoop = eventLoop
        self.pool = pool
        self.notify = notify
    }

    /// - Parameter done: gets true once the record is on the disk, false when it is not.
    func append(_ record: IssuedRecord, done: @escaping (Bool) -> Void) {
        lines.append(contentsOf: record.line)
        waiting.append(done)
        if !isWriting { write() }
    }

    private func write() {
        let batch = lines
        let mayBeTorn = hasFailed
        let finished = waiting
        lines = []
        waiting = []
        isWriting = true
        let log = log
        pool.runIfActive(eventLoop: eventLoop) { try log.append(batch, mayBeTorn: mayBeTorn) }.assumeIsolated().whenComplete { result in
            self.isWriting = false
            switch result {
            case .success: self.hasFailed = false
            case .failure(let error):
                self.hasFailed = true
                self.notify(Notice(.error, "record_failed", ["reason": "\(error)"]))
            }
            let isWritten = !self.hasFailed
            for done in finished { done(isWritten) }
            if !self.waiting.isEmpty { self.write() }
        }
    }
}
