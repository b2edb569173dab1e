// `hub-swarm sink`: receives and acknowledges.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe
internal import HubSwarm

struct Sink: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Receives and acknowledges; prints counts and latencies.",
        discussion: """
            Ends at --count, --duration or --idle, whichever comes first; without any of
            them at SIGTERM. A message is a duplicate when its node has seen the same
            content.metadata.uid with the same header.resourceversion before, or the same
            msg_id if it has no uid. Identities are kept as 64-bit hashes, at most
            --remember of them; messages past that are counted as 'untracked'.

            VICTIMS
              25%  the first quarter of the nodes
              KEY  messages with this content.metadata.uid or this route.resource

            \(ExitStatus.help(SwarmOutcome.statuses))
            \(SwarmOutcome.note)
            """)

    @Option(help: "End when so many distinct messages have come, of all nodes together.") var count: Int?
    @Option(help: ArgumentHelp("End so long after all nodes are connected.", valueName: "seconds")) var duration: Seconds?
    @Option(help: ArgumentHelp("End when nothing has come for so long.", valueName: "seconds")) var idle: Seconds?
    @Option(help: ArgumentHelp("Acknowledge so much later.", valueName: "seconds")) var ackDelay = Seconds(0)
    @Option(help: ArgumentHelp("Never acknowledge.", valueName: "victims")) var noAck = Victims.none
    @Option(help: ArgumentHelp("Answer with an error, so that the hub tries again later.", valueName: "victims")) var refuse = Victims.none
    @Option(help: ArgumentHelp("Nodes that stop reading once they are connected (25%).", valueName: "victims")) var stall = Victims.none
    @Option(help: ArgumentHelp("Nodes that read 4 KiB ten times a second once they are connected (25%).", valueName: "victims"))
    var slow = Victims.none
    @Option(help: ArgumentHelp("Nodes that never send anything once they are connected (25%).", valueName: "victims"))
    var silent = Victims.none
    @Option(help: ArgumentHelp("Go on trying to connect for so long.", valueName: "seconds")) var connectTimeout = Seconds(30)
    @Option(help: ArgumentHelp("Most messages that are remembered, 16 bytes each.", valueName: "number")) var remember = 8 << 20
    @OptionGroup var swarm: SwarmOptions

    func validate() throws {
        guard count ?? 1 >= 1 else { throw ValidationError("--count must be at least 1") }
        guard remember >= 0 else { throw ValidationError("--remember must not be negative") }
        for (name, victims) in [("--stall", stall), ("--slow", slow), ("--silent", silent)] {
            if case .key = victims { throw ValidationError("\(name) takes a share of the nodes, such as 25%") }
        }
    }

    func run() throws {
        let run = try SwarmRun(swarm) { settings in
            settings.patience = connectTimeout.amount
            settings.ackDelay = ackDelay.amount
            settings.unacknowledged = noAck
            settings.refused = refuse
            settings.stalled = stall
            settings.slow = slow
            settings.silent = silent
            settings.remembered = remember
        }
        let isCounted = { (figures: SwarmFigures) in count.map { figures.distinct >= $0 } ?? false }
        _ = try run.connect(isEnough: isCounted)
        let ready = monotonicNanoseconds()
        _ = try run.wait { figures, now in
            if isCounted(figures) || figures.connected == 0 && figures.givenUp >= run.settings.nodes { return true }
            if let duration, now - ready >= duration.nanoseconds { return true }
            if let idle, now - max(ready, figures.lastReceived) >= idle.nanoseconds { return true }
            return false
        }
        let figures = try run.finish()
        let isComplete = isCounted(figures) || count == nil && figures.connected == run.settings.nodes
        try report(run, figures, isComplete)
        let shortfall =
            count.map { "\(figures.distinct) of \($0) messages came" }
            ?? "\(figures.connected) of \(run.settings.nodes) nodes are connected"
        try run.conclude(figures, isComplete: isComplete, shortfall: shortfall)
    }

    private func report(_ run: SwarmRun, _ figures: SwarmFigures, _ isComplete: Bool) throws {
        let seconds = Double(figures.lastReceived - figures.firstReceived) / 1e9
        var object = run.object("sink", figures)
        object.add("received", figures.received)
        object.add("distinct", figures.distinct)
        object.add("duplicates", figures.duplicates)
        object.add("untracked", figures.untracked)
        object.add("acks", figures.acks)
        object.add("refusals", figures.refusals)
        object.add("withheld", figures.withheld)
        object.add("bytes", figures.receivedBytes)
        object.add("seconds", seconds)
        object.add("rate", seconds > 0 ? Double(figures.received) / seconds : 0)
        object.add("latency_us", figures.latency)
        object.add("connect_us", figures.handshakes)
        try run.print(object, figures, isComplete: isComplete)
    }
}
