// What is wrong with a configuration file, and where.

/// One line for the user names the file, the line, the key and the reason.
package struct ConfigError: Error, Sendable, Equatable {
    /// Counted from 1; nil when the file as a whole is meant.
    package let line: Int?
    /// The full path of the key, such as `modules.cloudHub.nodeLimit`; nil when it is no key's fault.
    package let key: String?
    package let reason: String

    init(line: Int?, key: String? = nil, _ reason: String) {
        self.line = line
        self.key = key
        self.reason = reason
    }

    /// `cloudcore.yaml:12: modules.cloudHub.nodeLimit: must be a whole number`.
    package func description(file: String) -> String {
        "\(file)\(line.map { ":\($0)" } ?? ""): \(key.map { "\($0): " } ?? "")\(reason)"
    }
}
