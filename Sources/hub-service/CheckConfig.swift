// hub-service check-config: a cloudcore.yaml as the hub reads it.

internal import ArgumentParser
internal import HubCommand
internal import HubConfig
internal import HubMessage
internal import HubPipe

struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Shows what a KubeEdge cloudcore.yaml says to the hub.",
        discussion: """
            One row for each key that is an option of a program, then those that say nothing to
            the hub, with the reason, then those that KubeEdge does not know either. With --json
            each row is an object. What the file leaves out stays the program's own default.

            EXAMPLES
              hub-service check-config /etc/kubeedge/config/cloudcore.yaml
              hub-service check-config --json cloudcore.yaml | jq -r 'select(.unknown).key'

            \(ExitStatus.help([.success, .usage, .inputOutput, .noPermission, .configuration]))
            """)

    @Argument(help: "The file.") var file: String
    @Flag(help: "Print JSON lines.") var json = false

    func run() throws {
        let config = try ConfigFile.read(file)
        let rows = rows(config)
        let output = try LineWriter.standardOutput()
        if json {
            for row in rows { output.buffer.append(contentsOf: row.json.utf8 + [0x0a]) }
        } else {
            let width = rows.map(\.key.utf8.count).max() ?? 0
            for row in rows {
                let gap = String(repeating: " ", count: width - row.key.utf8.count + 2)
                output.buffer.append(contentsOf: "\(LogText.printable(row.key))\(gap)\(LogText.printable(row.text))\n".utf8)
            }
        }
        try output.flush()
    }

    private struct Row {
        let key: String
        let text: String
        let json: String
    }

    private func rows(_ config: CloudCoreConfig) -> [Row] {
        var rows: [Row] = []
        for setting in config.settings.sorted(by: { $0.line < $1.line }) {
            let values = setting.values.map(LogText.quoted).joined(separator: ",")
            for use in setting.uses {
                let key = setting.keys.joined(separator: ", ")
                let members = [
                    "\"keys\":[\(setting.keys.map(LogText.quoted).joined(separator: ","))]", "\"line\":\(setting.line)",
                    "\"program\":\(LogText.quoted(use.program))", "\"option\":\(LogText.quoted(use.option))", "\"values\":[\(values)]",
                ]
                rows.append(
                    Row(
                        key: key, text: "\(use.program) \(use.option) = \(setting.values.joined(separator: ", "))",
                        json: "{\(members.joined(separator: ","))}"))
            }
        }
        for (keys, word) in [(config.ignored, "ignored"), (config.unknown, "unknown")] {
            for key in keys.sorted(by: { $0.line < $1.line }) {
                let members = [
                    "\"key\":\(LogText.quoted(key.key))", "\"line\":\(key.line)", "\"\(word)\":true",
                    "\"reason\":\(LogText.quoted(key.reason))",
                ]
                rows.append(
                    Row(key: key.key, text: "\(word) (line \(key.line)): \(key.reason)", json: "{\(members.joined(separator: ","))}"))
            }
        }
        return rows
    }
}
