// Exit statuses of every program, numbered as in BSD's sysexits.h.

/// How a program ended; `rawValue` is the number that the shell sees.
package enum ExitStatus: Int32, Sendable {
    case success = 0
    case usage = 64
    case malformedInput = 65
    case noInput = 66
    case unavailable = 69
    case internalFault = 70
    case cannotCreate = 73
    case inputOutput = 74
    case temporary = 75
    case protocolViolation = 76
    case noPermission = 77
    case configuration = 78

    /// The table that closes each program's `--help`, limited to what that program can end with.
    package static func help(_ statuses: [ExitStatus]) -> String {
        let rows = statuses.map { "  \($0.rawValue == 0 ? " 0" : "\($0.rawValue)")  \($0.meaning)" }
        return "EXIT STATUS\n" + rows.joined(separator: "\n")
    }

    private var meaning: String {
        switch self {
        case .success: "end of input, or drained after SIGTERM"
        case .usage: "wrong usage"
        case .malformedInput: "a malformed line, with --strict"
        case .noInput: "an input cannot be opened"
        case .unavailable: "something needed is missing"
        case .internalFault: "internal fault"
        case .cannotCreate: "a file, FIFO or socket cannot be created or opened for writing"
        case .inputOutput: "a read or write failed, or the reader of the output has gone"
        case .temporary: "temporary failure, try again"
        case .protocolViolation: "the peer broke the protocol"
        case .noPermission: "permission denied"
        case .configuration: "a configuration, key or certificate is missing or bad"
        }
    }
}

/// The end of a program by an error: one line for the user, one status for the shell.
package struct Failure: Error, Sendable, Equatable {
    package let status: ExitStatus
    package let message: String

    package init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }
}
