// hub-queue check: whether the state file is sound.

internal import ArgumentParser
internal import HubCommand
internal import HubStore

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Look at the whole state file for damage.",
        discussion: """
            Prints one line {"state","schema","bytes","problems":[...]} and ends with 0 when
            there is no problem, else with 78. It takes a second per gigabyte; the file may
            be in use by a hub-queue. A damaged file is left as it is: hub-queue
            --set-aside-damaged gives it another name and begins with an empty one.

            \(ExitStatus.help([.success, .usage, .noInput, .inputOutput, .temporary, .noPermission, .configuration]))
            """)

    @OptionGroup var state: StateOption

    func run() throws {
        let reader = try state.openReader()
        let finding = try reporting { () throws(StoreError) in try reader.check() }
        var text = StateText()
        text.open()
        text.member("state", text: state.state.utf8)
        text.member("schema", number: finding.schema)
        text.member("bytes", number: finding.bytes)
        text.member("problems", texts: finding.problems.map(\.utf8))
        try text.endLine()
        try text.flush()
        guard finding.problems.isEmpty else {
            throw Failure(.configuration, "\(state.state) is damaged: \(finding.problems[0])")
        }
    }
}
