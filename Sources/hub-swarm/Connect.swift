// `hub-swarm connect`: makes connections and holds them.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe
internal import HubSwarm

struct Connect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes connections, measures handshakes, and holds them.",
        discussion: """
            With --rounds more than 1 all connections are closed and made again; with
            --resume the later rounds resume their TLS sessions. The time of a connection
            runs from the TCP connect to the end of the WebSocket upgrade; with many
            handshakes at once it contains their wait for each other. A failed connection
            is not tried again.

            \(ExitStatus.help(SwarmOutcome.statuses))
            \(SwarmOutcome.note)
            """)

    @Option(help: ArgumentHelp("How often all connections are made.", valueName: "number")) var rounds = 1
    @Option(help: ArgumentHelp("Hold the last connections for so long.", valueName: "seconds")) var hold = Seconds(0)
    @OptionGroup var swarm: SwarmOptions

    func validate() throws {
        guard (1...10_000).contains(rounds) else { throw ValidationError("--rounds must lie between 1 and 10000") }
    }

    func run() throws {
        let run = try SwarmRun(swarm) { _ in }
        let nodes = run.settings.nodes
        var made: [FigureObject] = []
        var isWhole = true
        for round in 1...rounds where !run.isTerminated {
            if round > 1 { try run.disconnect() }
            try run.resetHandshakes()
            let start = monotonicNanoseconds()
            let figures = try run.connect()
            isWhole = isWhole && figures.opened >= nodes
            made.append(Self.object(figures, start))
        }
        let holdStart = monotonicNanoseconds()
        let held = try run.wait { figures, now in
            now - holdStart >= hold.nanoseconds || figures.connected == 0 && figures.givenUp >= nodes
        }
        let holdSeconds = Double(monotonicNanoseconds() - holdStart) / 1e9
        let figures = try run.finish()
        let isComplete = isWhole && held.lost == 0 && held.connected == nodes
        var object = run.object("connect", figures)
        object.add("rounds", made)
        object.add("hold_seconds", hold.nanoseconds > 0 ? holdSeconds : 0)
        object.add("received", figures.received)
        object.add("renewed", figures.renewed)
        try run.print(object, figures, isComplete: isComplete)
        try run.conclude(
            figures, isComplete: isComplete, shortfall: "\(held.connected) of \(nodes) connections stand, \(held.lost) were lost")
    }

    private static func object(_ figures: SwarmFigures, _ start: Int64) -> FigureObject {
        let seconds = figures.opened > 0 ? Double(figures.lastOpened - start) / 1e9 : 0
        var object = FigureObject()
        object.add("opened", figures.opened)
        object.add("full", figures.opened - figures.resumed)
        object.add("resumed", figures.resumed)
        object.add("seconds", seconds)
        object.add("rate", seconds > 0 ? Double(figures.opened) / seconds : 0)
        object.add("connect_us", figures.handshakes)
        return object
    }
}
