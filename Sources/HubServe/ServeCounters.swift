// What the server did, by cause: every drop and every refusal has a name (design: "Loss is counted by cause").

internal import Synchronization

/// Counters shared by all threads.
package final class ServeCounters: Sendable {
    /// The name of a counter, as SIGUSR1 shows it.
    package enum Cause: String, Sendable, CaseIterable {
        // Connections
        case accepted
        case refusedWaiting = "refused_waiting"
        case refusedOpen = "refused_connections"
        case resumed = "tls_resumed"
        case connected
        case replaced
        case disconnected
        case handshakeFailed = "handshake_failed"
        case handshakeTimeout = "handshake_timeout"
        case badRequest = "refused_request"
        case identity = "refused_identity"
        case refusedTrust = "refused_revoked"
        case nodeLimit = "refused_node_limit"
        case slowReader = "closed_slow_reader"
        case pongTimeout = "closed_pong_timeout"
        case invalid = "closed_invalid"
        case tooBig = "closed_too_big"
        case protocolError = "closed_protocol"
        case overBuffered = "closed_max_buffered"
        case closedByLine = "closed_by_line"
        case closedRevoked = "closed_revoked"
        case closedUntrusted = "closed_untrusted"
        case closedExpired = "closed_expired"
        // Edge to cloud
        case up
        case upBytes = "up_bytes"
        case answered
        case refusedFrame = "refused_frame"
        case forged = "refused_forged"
        case lateUp = "dropped_late_up"
        case answerDropped = "dropped_answer"
        // Cloud to edge
        case down
        case downBytes = "down_bytes"
        case offline = "dropped_offline"
        case gone = "dropped_gone"
        case unsentOnce = "dropped_unsent_once"
        case unsentAck = "dropped_unsent_ack"
        case duplicate = "dropped_duplicate"
        case closing = "dropped_closing"
        // Others
        case pauses
        case deferred
        case notLogged = "not_logged"
        case notKept = "rejects_not_kept"

        /// Its place in `allCases`. Swift numbers cases without payload in their order; to look one up by its raw value hashes the text.
        fileprivate var position: Int { Int(unsafe unsafeBitCast(self, to: UInt8.self)) }
    }

    private let values = Mutex<[Int]>([Int](repeating: 0, count: Cause.allCases.count))

    package init() {}

    package func add(_ cause: Cause, _ count: Int = 1) {
        values.withLock { $0[cause.position] += count }
    }

    /// Two counters under one lock.
    package func add(_ cause: Cause, _ count: Int, _ other: Cause, _ otherCount: Int) {
        values.withLock {
            $0[cause.position] += count
            $0[other.position] += otherCount
        }
    }

    package subscript(_ cause: Cause) -> Int { values.withLock { $0[cause.position] } }

    /// All counters in the order of `Cause`.
    package var all: [(name: String, value: Int)] {
        let now = values.withLock { $0 }
        return Cause.allCases.enumerated().map { ($0.element.rawValue, now[$0.offset]) }
    }
}
