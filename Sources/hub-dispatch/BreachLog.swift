// What `--policy-dry-run` logs: a node must not be able to fill the log.

internal import HubDispatch
internal import HubMessage
internal import Logging

/// Breaches of the policy, so many a second in full.
struct BreachLog {
    /// Breaches without a log line.
    private(set) var unlogged = 0
    private let perSecond: Int
    private let logger: Logger
    /// The second, of the monotonic clock, in which `count` were logged.
    private var second: Int64 = 0
    private var count = 0

    init(perSecond: Int, _ logger: Logger) {
        self.perSecond = perSecond
        self.logger = logger
    }

    /// - Parameter now: nanoseconds of the monotonic clock.
    mutating func note(_ refusal: NodePolicy.Refusal, _ line: Line, now: Int64) {
        if now / 1_000_000_000 != second { (second, count) = (now / 1_000_000_000, 0) }
        guard count < perSecond else {
            unlogged += 1
            return
        }
        count += 1
        let message = UpstreamDispatcher.Summary(line)
        logger.warning(
            "policy",
            metadata: [
                "node": "\(message.node)", "operation": "\(message.operation)", "resource": "\(message.resource)",
                "reason": "\(refusal.text)",
            ])
    }
}
