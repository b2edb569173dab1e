// Defaults of options taken from the environment, and below it from the file of `--config`: HUB_NODE_LIMIT stands for --node-limit, as does
// `modules.cloudHub.nodeLimit` in the file. An option on the command line wins over both, and the built-in default comes last.

package import ArgumentParser
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum Environment {
    private static let problem = Mutex<String?>(nil)

    /// The first value of a `HUB_…` variable that did not parse, as a message for the user.
    package static var firstProblem: String? { problem.withLock { $0 } }

    /// The value of `HUB_<NAME>` for the option `name` (kebab case), or `fallback` when it is not set.
    ///
    /// A value that does not parse is remembered in `firstProblem`; `runProgram` then ends with status 64.
    package static func option<Value: ExpressibleByArgument>(_ name: String, _ fallback: Value) -> Value {
        optional(name, Value.self) ?? fallback
    }

    /// As `option`, for options without a built-in default.
    package static func optional<Value: ExpressibleByArgument>(_ name: String, _: Value.Type) -> Value? {
        guard let text = variable(name) else { return ConfigFile.values(name).first.flatMap { Value(argument: $0) } }
        if let value = Value(argument: text) { return value }
        remember(name, text)
        return nil
    }

    /// As `option`, for options that may be repeated: the variable holds their values with commas between them.
    package static func list(_ name: String) -> [String] {
        variable(name).map { $0.split(separator: ",").map(String.init) } ?? ConfigFile.values(name)
    }

    /// As `option`, for flags: `true` or `1`, `false` or `0`.
    package static func flag(_ name: String, _ fallback: Bool = false) -> Bool {
        guard let text = variable(name) ?? ConfigFile.values(name).first else { return fallback }
        switch text {
        case "true", "1": return true
        case "false", "0": return false
        default:
            remember(name, text)
            return fallback
        }
    }

    /// The file of `HUB_CONFIG`.
    static var config: String? { variable("config") }

    /// As a service manager sets it.
    static var notifySocket: String? { unsafe getenv("NOTIFY_SOCKET").map { unsafe String(cString: $0) } }

    private static func variableName(_ name: String) -> String {
        "HUB_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    }

    private static func variable(_ name: String) -> String? {
        unsafe getenv(variableName(name)).map { unsafe String(cString: $0) }
    }

    private static func remember(_ name: String, _ text: String) {
        let message = "the environment variable \(variableName(name)) has a wrong value: '\(text)'"
        problem.withLock { if $0 == nil { $0 = message } }
    }
}
