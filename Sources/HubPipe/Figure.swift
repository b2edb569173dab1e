// What a stage counts and measures, by name: SIGUSR1 logs it, and `--metrics` keeps it in a file.

/// One number of a stage.
package struct Figure: Sendable, Equatable {
    package enum Kind: Sendable {
        /// Only grows while the program runs.
        case counter
        /// A state that comes and goes.
        case gauge
    }

    /// Snake case, as SIGUSR1 shows it.
    package let name: String
    package let value: Int
    package let kind: Kind

    package static func counter(_ name: String, _ value: Int) -> Figure { Figure(name: name, value: value, kind: .counter) }
    package static func gauge(_ name: String, _ value: Int) -> Figure { Figure(name: name, value: value, kind: .gauge) }

    /// Counters of a library that knows no figures.
    package static func counters(_ values: [(name: String, value: Int)]) -> [Figure] { values.map { counter($0.name, $0.value) } }
}
