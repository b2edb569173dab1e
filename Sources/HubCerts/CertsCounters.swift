// What `hub-certs serve` counts; SIGUSR1 prints it.

internal import Synchronization

/// Counters that any thread may add to.
package final class CertsCounters: Sendable {
    package enum Name: String, Sendable, CaseIterable {
        /// Connections accepted.
        case accepted
        /// Connections closed unserved, because of `--max-waiting`.
        case refusedConnections = "refused_connections"
        /// Connections that ended before or in the TLS handshake.
        case failedHandshakes = "failed_handshakes"
        /// Connections closed because a request did not come, or its answer did not leave, in time.
        case timeouts
        case requests
        /// Requests that are no HTTP, or have too large a header.
        case malformedRequests = "malformed_requests"
        /// Answered 413.
        case tooLarge = "too_large"
        /// Requests without or with a wrong credential, answered 401.
        case unauthorized
        /// Answered 429 or 503 because of a limit.
        case limited
        /// Certificate requests that the policy refused.
        case refusedCertificates = "refused_certificates"
        /// Signatures for holders of the token.
        case issued
        /// Signatures for nodes that already had a certificate.
        case renewed
        /// Lines for `taskmanager`.
        case taskReports = "task_reports"
        /// Records or lines that could not be written.
        case failedWrites = "failed_writes"
    }

    private let values = Mutex<[Name: Int]>([:])

    package init() {}

    package func add(_ name: Name) {
        values.withLock { $0[name, default: 0] += 1 }
    }

    package subscript(name: Name) -> Int { values.withLock { $0[name] ?? 0 } }

    /// All counters, in the order of their declaration.
    package var all: [(name: String, value: Int)] {
        values.withLock { values in Name.allCases.map { ($0.rawValue, values[$0] ?? 0) } }
    }
}
