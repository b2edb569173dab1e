// The error of this library.

package import HubPipe
package import HubTLS

/// A failed operation of the certificate authority.
package struct CertsError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// A file that `hub-certs prepare` makes is not there.
        case missing
        /// A file may not be read or written.
        case permission
        /// A file cannot be read.
        case unreadable
        /// A key, certificate or token is malformed, expired, or does not fit the others.
        case malformed
        /// A file or directory cannot be created.
        case create
        /// A write failed.
        case write
        /// The address cannot be listened on.
        case listen
        /// It is not the time for this step.
        case refused
        /// OpenSSL or the system failed in a way that input cannot cause.
        case fault
    }

    package let code: Code
    /// What failed, for the user; it begins with what was attempted or with the file.
    package let detail: String

    package init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// - Parameter what: what was attempted.
    package init(_ what: String, _ error: TLSError) {
        let isInput = [.certificate, .privateKey, .keyMismatch, .verification, .request].contains(error.code)
        self.init(isInput ? .malformed : .fault, "\(what): \(error.description)")
    }

    package init(_ error: PipeError) {
        let code: Code =
            if error.isPermission {
                .permission
            } else {
                switch error.code {
                case .openForReading, .read: .unreadable
                case .create: .create
                case .write, .readerGone: .write
                case .system, .malformed: .fault
                }
            }
        self.init(code, error.description)
    }

    package var description: String { detail }
}

/// Runs `body`; an error of TLS becomes one of this library.
/// - Parameter what: what is attempted, for the user.
func attempt<Result>(_ what: String, _ body: () throws(TLSError) -> Result) throws(CertsError) -> Result {
    do throws(TLSError) {
        return try body()
    } catch {
        throw CertsError(what, error)
    }
}
