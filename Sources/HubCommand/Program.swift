// The common frame of every executable: parse, run, report one line, exit.

package import ArgumentParser
package import HubPipe

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The version that `--version` prints for every program of the hub.
package let hubVersion = "0.1.0"

/// Parses the command line, runs the command, and ends the process with a status of `ExitStatus`.
///
/// Usage errors end with 64. A `Failure` becomes one line on standard error, `<program>: <message>`, and its status.
/// - Parameter readsConfig: the program has `ConfigOption`.
package func runProgram<Command: ParsableCommand>(_: Command.Type, readsConfig: Bool = false) -> Never {
    SystemSignals.ignoreBrokenPipe()
    let name = Command.configuration.commandName ?? "hub"
    do {
        if readsConfig { try ConfigFile.load(arguments: Array(CommandLine.arguments.dropFirst())) }
        var command = try Command.parseAsRoot()
        if let problem = Environment.firstProblem {
            throw Failure(.usage, problem)
        }
        try command.run()
    } catch let failure as Failure {
        reportLine("\(name): \(failure.message)")
        exit(failure.status.rawValue)
    } catch let error as PipeError {
        reportLine("\(name): \(error.description)")
        exit(ExitStatus(error).rawValue)
    } catch {
        Command.exit(withError: error)
    }
    exit(ExitStatus.success.rawValue)
}

/// Writes one line to standard error; control characters of `text` are escaped, so that peer text stays on its line.
package func reportLine(_ text: String) {
    StandardError.write(LogText.printable(text) + "\n")
}

extension ExitStatus {
    /// The status for an error of `HubPipe`.
    package init(_ error: PipeError) {
        switch error.code {
        case .openForReading: self = error.isPermission ? .noPermission : .noInput
        case .create: self = error.isPermission ? .noPermission : .cannotCreate
        case .read, .write, .readerGone: self = .inputOutput
        case .system: self = .internalFault
        case .malformed: self = .malformedInput
        }
    }
}
