// `--config`: a KubeEdge `cloudcore.yaml` as the layer below the environment (design: "Command line, logs, signals").
//
// Defaults of options are taken when a command is made, before its arguments are parsed. So the file is found and read before that.

package import ArgumentParser
package import HubConfig
internal import HubPipe
internal import Logging
internal import Synchronization

package enum ConfigFile {
    private struct State {
        var path = ""
        var config: CloudCoreConfig?
        var hasWarned = false
    }

    private static let state = Mutex(State())

    /// Reads the file that the arguments name, or HUB_CONFIG; without either there is none.
    static func load(arguments: [String]) throws {
        guard let path = path(in: arguments) ?? Environment.config else { return }
        let config = try read(path)
        state.withLock { $0 = State(path: path, config: config) }
    }

    /// - Throws: a `Failure` of status 78, or 77 when the file may not be read.
    package static func read(_ path: String) throws -> CloudCoreConfig {
        let bytes: [UInt8]
        do throws(PipeError) {
            bytes = try SmallFile.read(path)
        } catch {
            throw Failure(error.isPermission ? .noPermission : .configuration, "cannot read the configuration: \(error.description)")
        }
        do throws(ConfigError) {
            return try CloudCoreConfig(bytes)
        } catch {
            throw Failure(.configuration, error.description(file: path))
        }
    }

    static func values(_ variable: String) -> [String] {
        state.withLock { $0.config?.settings.first { $0.variable == variable }?.values ?? [] }
    }

    /// One line for each key that KubeEdge does not know; once.
    static func warn(_ logger: Logger) {
        let (path, unknown) = state.withLock { state in
            defer { state.hasWarned = true }
            return (state.path, state.hasWarned ? [] : state.config?.unknown ?? [])
        }
        for key in unknown {
            logger.warning("config_key_unknown", metadata: ["file": "\(path)", "line": "\(key.line)", "key": "\(key.key)"])
        }
    }

    /// The last one counts, as for every option.
    private static func path(in arguments: [String]) -> String? {
        var path: String?
        for (position, argument) in arguments.enumerated() {
            if argument == "--" { break }
            if argument.hasPrefix("--config=") { path = String(argument.dropFirst(9)) }
            if argument == "--config", position + 1 < arguments.count { path = arguments[position + 1] }
        }
        return path
    }
}

/// The option of every command that takes defaults from the file.
package struct ConfigOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A KubeEdge cloudcore.yaml: what options and environment leave open comes from its modules.cloudHub ('hub-service check-config' shows what it says).",
            valueName: "file"))
    package var config: String?

    package init() {}
}
