// The error of this library, and the short names under which failures of connections are counted.

/// A failure that ends a run, or one connection of it.
package struct SwarmError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// The join token does not have the form `<hex of SHA-256>.<rest>`.
        case token
        /// The CA that was offered is not the one that the token names.
        case wrongCA
        /// The peer refused the token, the request or the upgrade.
        case refused
        /// Nobody answers.
        case unreachable
        /// The peer broke HTTP, TLS or WebSocket.
        case protocolViolation
        /// A file of the certificate directory cannot be read or written.
        case file
        /// A certificate or key is unusable.
        case certificate
    }

    package let code: Code
    package let detail: String

    package init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    package var description: String { detail }
}

/// Failures by cause: `tcp`, `tls`, `http-503`, `closed-1001`, … A peer chooses some of the numbers, so the causes are bounded.
package struct Causes: Sendable, Equatable {
    /// Most different causes; more are counted as `other`.
    package static let limit = 64

    package private(set) var counts: [String: Int] = [:]

    package init() {}

    package mutating func add(_ cause: String, _ count: Int = 1) {
        if counts[cause] != nil || counts.count < Self.limit {
            counts[cause, default: 0] += count
        } else {
            counts["other", default: 0] += count
        }
    }

    package mutating func add(_ other: Causes) {
        for (cause, count) in other.counts.sorted(by: { $0.key < $1.key }) { add(cause, count) }
    }
}
