// `hub-swarm flood`: sends upstream messages.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe
internal import HubSwarm

struct Flood: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends upstream messages from every node; prints the rate.",
        discussion: """
            The messages are pod statuses as KubeEdge's edge writes them. Their content has
            two members more: 'seq', which counts the messages of a node from 0, and
            'sent', microseconds since 1970. 'hub-swarm verify' reads both at the other
            end. Sending begins once every node is connected or given up. The rate is that at
            which the sockets take the messages; 'verify' tells how fast they come out.

            \(ExitStatus.help(SwarmOutcome.statuses))
            \(SwarmOutcome.note)
            """)

    @Option(help: ArgumentHelp("Messages per node.", valueName: "number")) var count = 1000
    @Option(help: ArgumentHelp("Bytes of one message; at least what its fixed members need.", valueName: "bytes"))
    var size = ByteCount(1024)
    @Option(help: ArgumentHelp("Messages per second of all nodes together; 0 for as fast as possible.", valueName: "number")) var rate = 0.0
    @Option(help: ArgumentHelp("End so long after the first message, sent or not.", valueName: "seconds")) var duration: Seconds?
    @Option(help: ArgumentHelp("Wait so long between the last connection and the first message.", valueName: "seconds"))
    var settle = Seconds(0)
    @Option(help: ArgumentHelp("Stay connected so long after the last message.", valueName: "seconds")) var linger = Seconds(0)
    @Option(help: ArgumentHelp("Go on trying to connect for so long.", valueName: "seconds")) var connectTimeout = Seconds(30)
    @OptionGroup var swarm: SwarmOptions

    func validate() throws {
        guard (1...1_000_000_000).contains(count) else { throw ValidationError("--count must lie between 1 and 1000000000") }
        guard (0...(64 << 20)).contains(size.bytes) else { throw ValidationError("--size must be at most 64 MiB") }
        guard rate >= 0, rate < 1e9 else { throw ValidationError("--rate must lie between 0 and 1000000000") }
    }

    func run() throws {
        let run = try SwarmRun(swarm) { settings in
            settings.patience = connectTimeout.amount
            settings.flood = FloodPlan(count: count, size: size.bytes, rate: rate)
        }
        let nodes = run.settings.nodes
        _ = try run.connect()
        if settle.nanoseconds > 0 {
            let end = monotonicNanoseconds() + settle.nanoseconds
            _ = try run.wait { _, now in now >= end }
        }
        let start = monotonicNanoseconds()
        if !run.isTerminated { try run.startFlood() }
        _ = try run.wait { figures, now in
            if let duration, now - start >= duration.nanoseconds { return true }
            return figures.flooded + figures.abandoned >= nodes
        }
        if linger.nanoseconds > 0 {
            let end = monotonicNanoseconds() + linger.nanoseconds
            _ = try run.wait { _, now in now >= end }
        }
        let figures = try run.finish()
        let isComplete = figures.sent == count * nodes
        let seconds = figures.lastSent > 0 ? Double(figures.lastSent - figures.firstSent) / 1e9 : 0
        var object = run.object("flood", figures)
        object.add("sent", figures.sent)
        object.add("bytes", figures.sentBytes)
        object.add("unsent", figures.unsent)
        object.add("finished", figures.flooded)
        object.add("seconds", seconds)
        object.add("rate", seconds > 0 ? Double(figures.sent) / seconds : 0)
        object.add("received", figures.received)
        object.add("acks", figures.acks)
        object.add("connect_us", figures.handshakes)
        try run.print(object, figures, isComplete: isComplete)
        try run.conclude(
            figures, isComplete: isComplete, shortfall: "\(figures.sent) of \(count * nodes) messages were sent")
    }
}
