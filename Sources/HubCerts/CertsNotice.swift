// What the library has to tell the log; the executable writes it.

package struct CertsNotice: Sendable, Equatable {
    package enum Level: Sendable {
        case debug
        case info
        case warning
        case error
    }

    package let level: Level
    package let event: String
    package let details: [String: String]

    package init(_ level: Level, _ event: String, _ details: [String: String] = [:]) {
        self.level = level
        self.event = event
        self.details = details
    }
}
