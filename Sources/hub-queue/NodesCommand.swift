// hub-queue nodes: which nodes the queue knows.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubStore

struct NodesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodes",
        abstract: "Print the known nodes as JSON lines.",
        discussion: """
            One line is {"node","online","session","since","pending","acknowledged"}:
            since when it is online or offline (milliseconds since 1970), and how many
            messages wait for it and how many objects it has. No node is online while no
            hub-queue serves from the file.

            \(ExitStatus.help([.success, .usage, .noInput, .inputOutput, .temporary, .noPermission, .configuration]))
            """)

    @OptionGroup var state: StateOption

    private static let chunk = 500

    func run() throws {
        let reader = try state.openReader()
        let nodes = try reporting { () throws(StoreError) in try reader.nodes() }
        var pending = try reporting { () throws(StoreError) in try reader.counts(.pending) }
        let acknowledged = try reporting { () throws(StoreError) in try reader.counts(.acknowledged) }
        for (id, count) in try recent(reader, nodes) { pending[id, default: 0] += count }
        var text = StateText()
        for node in nodes {
            let session = reader.isServed ? node.session : nil
            text.open()
            text.member("node", text: node.name)
            text.member("online", flag: session != nil)
            if let session { text.member("session", number: session) }
            text.member("since", number: node.since / 1000)
            text.member("pending", number: Int64(pending[node.id] ?? 0))
            text.member("acknowledged", number: Int64(acknowledged[node.id] ?? 0))
            try text.endLine()
        }
        try text.flush()
    }

    /// Messages that a serving process holds in memory: their rows name no node, their lines do.
    private func recent(_ reader: StateReader, _ nodes: [StateReader.KnownNode]) throws(Failure) -> [Int64: Int] {
        var ids: [[UInt8]: Int64] = [:]
        for node in nodes { ids[node.name] = node.id }
        var counts: [Int64: Int] = [:]
        var after: Int64 = 0
        while true {
            let rows = try reporting { () throws(StoreError) in try reader.recent(after: after, limit: Self.chunk) }
            for row in rows {
                let name = unsafe row.line.withUnsafeBytes { raw in
                    (try? unsafe Line.scan(raw)).map { $0.value($0.index.hub.node) }
                }
                if let name, let id = ids[name] { counts[id, default: 0] += 1 }
            }
            guard let last = rows.last else { return counts }
            after = last.id
        }
    }
}
