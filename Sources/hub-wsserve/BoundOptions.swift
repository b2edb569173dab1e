// The bounds of hub-wsserve: nothing that a node does grows beyond one of these.

internal import ArgumentParser
internal import HubCommand
internal import HubServe

struct BoundOptions: ParsableArguments {
    @Option(help: "Nodes that may be connected at once; more are answered 503.")
    var nodeLimit: Int = Environment.option("node-limit", 10_000)

    @Option(help: "TLS handshakes and upgrades at once; more wait.")
    var maxHandshakes: Int = Environment.option("max-handshakes", 256)

    @Option(
        help: """
            Of them, those of one address (IPv6: of one /64); its others wait while those of other addresses are served. Behind a proxy that \
            has one address for all, this is the bound for all.
            """)
    var maxHandshakesPerAddress: Int = Environment.option("max-handshakes-per-address", 64)

    @Option(
        help: """
            Connections that wait for their handshake; past it the address with the most of them loses its newest. As many as nodes: whoever \
            is refused in a herd tries again only half a minute later.
            """)
    var maxWaiting: Int = Environment.option("max-waiting", 16_384)

    @Option(help: "All connections, whatever their state; more are closed as they come.")
    var maxConnections: Int = Environment.option("max-connections", 16_384)

    @Option(help: ArgumentHelp("Time for TLS handshake and upgrade together.", valueName: "seconds"))
    var handshakeTimeout: Seconds = Environment.option("handshake-timeout", Seconds(10))

    @Option(help: ArgumentHelp("Largest message of a node; a larger one closes its connection with 1009.", valueName: "bytes"))
    var maxMessage: ByteCount = Environment.option("max-message", .mebi(32))

    @Option(
        help: ArgumentHelp(
            "All unfinished messages together; past it the largest one's connection is closed with 1013.", valueName: "bytes"))
    var maxBuffered: ByteCount = Environment.option("max-buffered", .mebi(256))

    @Option(
        help: ArgumentHelp("What may wait for one node; past it 'once' lines are dropped, and twice as much drops all.", valueName: "bytes")
    )
    var maxUnsent: ByteCount = Environment.option("max-unsent", .mebi(4))

    @Option(help: ArgumentHelp("A node over --max-unsent to which nothing leaves for so long is closed.", valueName: "seconds"))
    var stall: Seconds = Environment.option("stall", Seconds(10))

    @Option(help: ArgumentHelp("Output that may wait for its reader; past it no socket is read.", valueName: "bytes"))
    var maxOutput: ByteCount = Environment.option("max-output", .mebi(16))

    @Option(
        help: ArgumentHelp(
            "Refused frames of nodes that are copied to --rejects since the start; later ones are logged only.", valueName: "bytes"))
    var maxRejects: ByteCount = Environment.option("max-rejects", .mebi(64))

    @Option(help: ArgumentHelp("Time between pings; two missed pongs close the connection, 0 sends none.", valueName: "seconds"))
    var ping: Seconds = Environment.option("ping", Seconds(15))

    @Option(help: ArgumentHelp("Time for sending what waits after SIGTERM.", valueName: "seconds"))
    var drain: Seconds = Environment.option("drain", Seconds(5))

    @Option(
        help: """
            Event loops. With fewer, each has more to do at once, which costs less per message; more than one is for the handshakes of a \
            herd. (default: half of the cores)
            """)
    var threads: Int?

    func validate() throws {
        guard nodeLimit > 0, maxHandshakes > 0, maxHandshakesPerAddress > 0, maxConnections > 0, maxWaiting >= 0 else {
            throw ValidationError("--node-limit, --max-handshakes, --max-handshakes-per-address and --max-connections must be positive")
        }
        guard threads ?? 1 > 0, threads ?? 1 <= 1024 else { throw ValidationError("--threads must lie between 1 and 1024") }
        guard (128...(1 << 30)).contains(maxMessage.bytes) else {
            throw ValidationError("--max-message must lie between 128 bytes and 1 GiB")
        }
        guard handshakeTimeout.nanoseconds > 0, stall.nanoseconds > 0 else {
            throw ValidationError("--handshake-timeout and --stall must be more than 0")
        }
    }

    /// - Parameter openFiles: what the system allows; connections leave some for everything else.
    func settings(_ place: PlaceOptions, openFiles: Int) -> ServeSettings {
        var settings = ServeSettings()
        settings.nodeLimit = nodeLimit
        settings.maxHandshakes = maxHandshakes
        settings.maxHandshakesPerAddress = maxHandshakesPerAddress
        settings.maxWaiting = maxWaiting
        settings.maxRejects = maxRejects.bytes
        settings.maxConnections = openFiles > 128 ? min(maxConnections, openFiles - 64) : maxConnections
        settings.handshakeTimeout = handshakeTimeout.nanoseconds
        settings.maxMessage = maxMessage.bytes
        settings.maxBuffered = maxBuffered.bytes
        settings.maxUnsent = maxUnsent.bytes
        settings.stall = stall.nanoseconds
        settings.maxOutput = maxOutput.bytes
        settings.ping = ping.nanoseconds
        settings.drain = drain.nanoseconds
        settings.threads = threads ?? max(1, EdgeServer.coreCount / 2)
        settings.legacyIdentity = place.legacyIdentity
        settings.closesExpired = place.closeExpired
        return settings
    }
}
