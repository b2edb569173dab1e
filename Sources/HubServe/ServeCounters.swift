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
    }

    private let values = Mutex<[Int]>([Int](repeating: 0, count: Cause.allCases.count))

    package init() {}

    package func add(_ cause: Cause, _ count: Int = 1) {
        let position = Self.positions[cause] ?? 0
        values.withLock { $0[position] += count }
    }

    /// Two counters under one lock.
    package func add(_ cause: Cause, _ count: Int, _ other: Cause, _ otherCount: Int) {
        let position = Self.positions[cause] ?? 0
        let otherPosition = Self.positions[other] ?? 0
        values.withLock {
            $0[position] += count
            $0[otherPosition] += otherCount
        }
    }

    package subscript(_ cause: Cause) -> Int {
        let position = Self.positions[cause] ?? 0
        return values.withLock { $0[position] }
    }

    /// All counters in the order of `Cause`.
    package var all: [(name: String, value: Int)] {
        let now = values.withLock { $0 }
        return Cause.allCases.enumerated().map { ($0.element.rawValue, now[$0.offset]) }
    }

    private static let positions = Dictionary(uniqueKeysWithValues: Cause.allCases.enumerated().map { ($0.element, $0.offset) })
}
