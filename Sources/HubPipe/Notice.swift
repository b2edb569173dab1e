// What a library has to tell the log. Libraries do not log: the executable passes notices to its logger.

/// One log line.
package struct Notice: Sendable, Equatable {
    package enum Level: Sendable, Equatable {
        case debug
        case info
        case warning
        case error
    }

    package let level: Level
    /// Snake case, as in `event=connected`.
    package let event: String
    package let details: [String: String]

    package init(_ level: Level, _ event: String, _ details: [String: String] = [:]) {
        self.level = level
        self.event = event
        self.details = details
    }
}
