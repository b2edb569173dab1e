// Defaults of options taken from the environment: HUB_NODE_LIMIT stands for --node-limit.
// An option on the command line wins over the environment, and that over the built-in default.

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
        let variable = "HUB_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
        guard let raw = unsafe getenv(variable) else { return nil }
        let text = unsafe String(cString: raw)
        if let value = Value(argument: text) { return value }
        problem.withLock { if $0 == nil { $0 = "the environment variable \(variable) has a wrong value: '\(text)'" } }
        return nil
    }
}
