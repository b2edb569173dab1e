// The error of this library.

/// A failed operation on a descriptor, FIFO or input.
package struct PipeError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// An input could not be opened.
        case openForReading
        /// An output could not be created or opened.
        case create
        case read
        case write
        /// The reader of an output has gone (EPIPE).
        case readerGone
        /// A call that only fails when the system is out of something.
        case system
        /// A malformed line, in strict mode.
        case malformed
    }

    package let code: Code
    /// What was attempted, for the user: `cannot open /run/x`.
    package let detail: String
    /// The errno beneath, 0 when there is none.
    package let errno: Int32

    package init(_ code: Code, _ detail: String, errno: Int32 = 0) {
        self.code = code
        self.detail = detail
        self.errno = errno
    }

    package var description: String { errno == 0 ? detail : "\(detail): \(systemText(errno))" }

    /// There is no such file.
    package var isAbsent: Bool { errno == 2 }

    /// EACCES or EPERM.
    package var isPermission: Bool { errno == 13 || errno == 1 }
}
