// hub-queue list: what is pending.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubStore

struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Print the pending messages as JSON lines, in order of arrival.",
        discussion: """
            One line is {"node","key","version","operation","resource","msg_id","size"},
            size in bytes with its envelope, and after trouble "attempts",
            "backoff_until" (milliseconds since 1970) and "last_error". The file may be in
            use by a hub-queue.

            \(ExitStatus.help([.success, .usage, .noInput, .inputOutput, .temporary, .noPermission, .configuration]))
            """)

    @OptionGroup var state: StateOption
    @Option(help: ArgumentHelp("Only this node.", valueName: "node")) var node: String?

    private static let chunk = 500

    func run() throws {
        let reader = try state.openReader()
        var text = StateText()
        var after: Int64 = 0
        while true {
            let messages = try reporting { () throws(StoreError) in try reader.messages(after: after, limit: Self.chunk) }
            for message in messages { try append(message, &text) }
            guard let last = messages.last else { break }
            after = last.id
        }
        try text.flush()
    }

    private func append(_ message: StateReader.Message, _ text: inout StateText) throws(Failure) {
        var isWanted = false
        unsafe message.line.withUnsafeBytes { raw in
            guard let line = try? unsafe Line.scan(raw) else { return }
            let index = line.index
            guard node == nil || line.string(index.hub.node) == node else { return }
            isWanted = true
            text.open()
            text.member("node", text: line.value(index.hub.node))
            text.member("key", text: line.value(index.hub.key))
            text.member("version", text: line.value(index.hub.version))
            text.member("operation", text: line.value(index.route.operation))
            text.member("resource", text: line.value(index.route.resource))
            text.member("msg_id", text: line.value(index.header.messageID))
            text.member("size", number: Int64(raw.count))
        }
        guard isWanted else { return }
        let trouble = message.trouble
        if let attempts = trouble.attempts { text.member("attempts", number: Int64(attempts)) }
        if let until = trouble.backoffUntil { text.member("backoff_until", number: until / 1000) }
        if let error = trouble.error { text.member("last_error", text: error) }
        try text.endLine()
    }
}
