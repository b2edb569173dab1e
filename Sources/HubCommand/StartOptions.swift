// What stands at the start of a stage: where its defaults come from, and who hears that it is ready.

package import ArgumentParser
package import HubPipe
package import Logging

/// `--config` and `--notify-fd`.
package struct StartOptions: ParsableArguments {
    @OptionGroup package var config: ConfigOption
    @OptionGroup package var readiness: ReadinessOption

    package init() {}

    /// - Throws: when the descriptor of `--notify-fd` cannot be written to.
    package func notice(_ logger: Logger) throws(PipeError) -> ServiceNotice { try readiness.notice(logger) }
}

/// `--notify-fd`, for programs that have no `--config` of their own.
package struct ReadinessOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Write one newline to this descriptor and close it once everything is open and the program works. A service manager hears it by NOTIFY_SOCKET, as of sd_notify(3).",
            valueName: "number"))
    package var notifyFd: Int32?

    package init() {}

    package func validate() throws {
        guard notifyFd ?? 3 >= 3 else { throw ValidationError("--notify-fd must be 3 or more") }
    }

    package func notice(_ logger: Logger) throws(PipeError) -> ServiceNotice {
        try ServiceNotice(socket: Environment.notifySocket, descriptor: notifyFd) {
            logger.warning("notify_failed", metadata: ["reason": "\($0)"])
        }
    }
}

extension ServiceNotice {
    /// For a program that only speaks for another.
    package static func toManager(onFailure: @escaping (String) -> Void) throws(PipeError) -> ServiceNotice {
        try ServiceNotice(socket: Environment.notifySocket, descriptor: nil, onFailure: onFailure)
    }
}
