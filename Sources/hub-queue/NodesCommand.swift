// hub-queue nodes: which nodes the queue knows.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubStore

struct NodesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodes",
        abstract: "Print the known nodes, as JSON lines or as a table.",
        discussion: """
            One line is {"node","online","session","since","pending","acknowledged",
            "oldest","last_error","remote","last_seen","in_flight"}: since when it is online or offline,
            how many messages wait for it and how many objects it has, the timestamp of the
            oldest message that waits, and what it said to one that it refused. "remote" and
            "last_seen" come from --seen, "in_flight" from --flights. Times are milliseconds since 1970; what is not known is left
            out. No node is online while no hub-queue serves from the file.

            EXAMPLES
              hub-queue nodes --state queue.db | jq -r 'select(.pending > 0) | .node'
              hub-queue nodes --state queue.db --table --sort pending

            \(ExitStatus.help([.success, .usage, .noInput, .inputOutput, .temporary, .noPermission, .configuration]))
            """)

    enum Order: String, ExpressibleByArgument, CaseIterable {
        case name
        case pending
        case oldest
    }

    @OptionGroup var state: StateOption
    @Option(help: ArgumentHelp("The file that hub-keepalive keeps with --status: who was last seen when, and where.", valueName: "file"))
    var seen: String?
    @Option(help: ArgumentHelp("The file that hub-queue keeps with --status: how many messages are in flight.", valueName: "file"))
    var flights: String?
    @Flag(help: "Print a table for people.") var table = false
    @Option(help: "Order of the nodes; 'pending' and 'oldest' begin with the worst.") var sort = Order.name

    func run() throws {
        let reader = try state.openReader()
        var reports = try NodeReport.all(reader, seen: seen, flights: flights)
        switch sort {
        case .name: break
        case .pending: reports.sort { $0.pending > $1.pending }
        case .oldest: reports.sort { $0.oldest ?? .max < $1.oldest ?? .max }
        }
        var text = StateText()
        if table {
            NodeTableText(now: wallMicroseconds() / 1000).append(reports, to: &text.bytes)
        } else {
            for report in reports { try append(report, &text) }
        }
        try text.flush()
    }

    private func append(_ report: NodeReport, _ text: inout StateText) throws(Failure) {
        text.open()
        text.member("node", text: report.name)
        text.member("online", flag: report.session != nil)
        if let session = report.session { text.member("session", number: session) }
        text.member("since", number: report.since)
        text.member("pending", number: Int64(report.pending))
        text.member("acknowledged", number: Int64(report.acknowledged))
        if let oldest = report.oldest { text.member("oldest", number: oldest) }
        if let error = report.lastError { text.member("last_error", text: error) }
        if let remote = report.remote { text.member("remote", text: remote.utf8) }
        if let seen = report.lastSeen { text.member("last_seen", number: seen) }
        if let count = report.inFlight { text.member("in_flight", number: Int64(count)) }
        try text.endLine()
    }
}
