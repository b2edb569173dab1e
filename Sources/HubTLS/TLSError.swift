// The error of this library, and OpenSSL's error queue, which belongs to the thread: it is cleared before a call and drained
// after a failure, without a suspension in between.

internal import COpenSSL

/// A failed operation on a key, a certificate or a TLS connection.
package struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// OpenSSL has no memory.
        case allocation
        /// OpenSSL refused a setting of a context or connection.
        case context
        /// A certificate is malformed, or cannot be made.
        case certificate
        /// A private key is malformed, encrypted or of an unusable kind.
        case privateKey
        /// A certificate and a private key do not belong together.
        case keyMismatch
        /// A certificate request is malformed, or its signature does not verify.
        case request
        /// A certificate does not lead to the authority.
        case verification
        /// A digest or a random number could not be made.
        case digest
        /// The handshake failed.
        case handshake
        /// The peer broke the protocol after the handshake.
        case protocolViolation
        /// The socket ended without close_notify.
        case truncated
        /// The peer made something grow past its bound.
        case limit
    }

    package let code: Code
    /// What failed, for the user.
    package let detail: String
    /// OpenSSL's reasons, the earliest first.
    package let queue: [String]

    package init(_ code: Code, _ detail: String, _ queue: [String] = []) {
        self.code = code
        self.detail = detail
        self.queue = queue
    }

    package var description: String { queue.isEmpty ? detail : "\(detail) (\(queue.joined(separator: "; ")))" }
}

/// Empties the error queue of this thread.
/// - Returns: the reason of each entry, the earliest first.
package func drainErrorQueue() -> [String] {
    var reasons: [String] = []
    while true {
        let code = ERR_get_error()
        if code == 0 { return reasons }
        if let reason = unsafe ERR_reason_error_string(code) {
            reasons.append(unsafe String(cString: reason))
        } else {
            reasons.append("error \(code)")
        }
    }
}
