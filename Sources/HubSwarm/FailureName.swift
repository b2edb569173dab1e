// Short names for what went wrong with a connection: they key the counts in the figures.

internal import HubTLS
internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

enum FailureName {
    static func of(_ error: any Error) -> (cause: String, detail: String) {
        switch error {
        case let error as TLSError:
            let cause = error.code == .truncated ? "eof" : "tls"
            return (cause, error.detail)
        case let error as IOError:
            switch error.errnoCode {
            case ECONNREFUSED: return ("tcp-refused", "connection refused")
            case ECONNRESET, EPIPE: return ("reset", "connection reset")
            default: return ("tcp", "\(error)")
            }
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return of(first.error) }
            return ("tcp", "the host name does not resolve")
        case let error as ChannelError:
            if case .connectTimeout = error { return ("timeout", "no TCP connection in time") }
            return ("tcp", "\(error)")
        default: return ("other", "\(error)")
        }
    }
}
