// Options of all subcommands that connect.

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubSwarm
internal import HubTLS
internal import NIOCore

/// `--nodes`, `--prefix`, `--first`: which nodes are played.
struct NodeOptions: ParsableArguments {
    @Option(help: "Number of nodes.") var nodes = 1
    @Option(help: "Names of the nodes: the prefix and a number.") var prefix = "edge-"
    @Option(help: "Number in the name of the first node.") var first = 0

    func validate() throws {
        guard (1...1_000_000).contains(nodes) else { throw ValidationError("--nodes must lie between 1 and 1000000") }
        guard (0...1_000_000_000).contains(first) else { throw ValidationError("--first must lie between 0 and 1000000000") }
        guard NodeName.isValid(Array("\(prefix)\(first + nodes - 1)".utf8)) else {
            throw ValidationError("--prefix does not make valid node names (RFC 1123 subdomains)")
        }
    }
}

struct SwarmOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where the hub listens for edges.", valueName: "host:port"))
    var hub: String = Environment.option("hub", "127.0.0.1:10000")
    @Flag(help: "Plain ws:// without TLS and certificates.") var insecure = false
    @Option(
        help: ArgumentHelp("Name or address that the hub's certificate must have; the host of --hub without it.", valueName: "name"))
    var serverName: String?
    @Option(help: ArgumentHelp("KubeEdge's project id, a part of the upgrade.", valueName: "id"))
    var projectID = "e632aba927ea4ac2b575ec1603d56f10"

    @Option(help: ArgumentHelp("Event loops; each is one thread.", valueName: "number")) var threads = min(System.coreCount, 2)
    @Option(help: ArgumentHelp("Handshakes that run at once.", valueName: "number")) var connectParallel = 64
    @Option(help: ArgumentHelp("Longest time for one connection and its upgrade.", valueName: "seconds"))
    var handshakeTimeout = Seconds(10)
    @Option(help: ArgumentHelp("Pause between two keepalives of a node; 0 sends none.", valueName: "seconds"))
    var keepalive = Seconds(15)
    @Option(
        help: ArgumentHelp(
            "Addresses of this machine to connect from, with commas between; nodes take them in turn. Each has some 28000 ports.",
            valueName: "addresses"))
    var source: SourceAddresses?
    @Flag(help: "Connect again after a loss.") var reconnect = false
    @Flag(help: "Resume the TLS session when a node connects again.") var resume = false

    @OptionGroup(title: "Nodes") var nodes: NodeOptions
    @OptionGroup(title: "Certificates") var join: JoinOptions
    @OptionGroup(title: "Log") var log: LogOptions

    var endpoint: Endpoint? { Endpoint(hub, schemes: ["wss", "ws", "https", "http"], defaultPort: 10_000) }

    func validate() throws {
        guard endpoint != nil else { throw ValidationError("--hub must be <host>:<port>") }
        guard (1...256).contains(threads) else { throw ValidationError("--threads must lie between 1 and 256") }
        guard connectParallel >= 1 else { throw ValidationError("--connect-parallel must be at least 1") }
        guard handshakeTimeout.nanoseconds > 0 else { throw ValidationError("--handshake-timeout must be more than 0") }
        guard !projectID.isEmpty, projectID.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x2f }) else {
            throw ValidationError("--project-id must be visible ASCII without a slash")
        }
        if !insecure { try join.validateForTLS() }
    }
}

/// `127.0.0.2,127.0.0.3`
struct SourceAddresses: ExpressibleByArgument {
    let list: [SocketAddress]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        let list = parts.compactMap { try? SocketAddress(ipAddress: String($0), port: 0) }
        guard list.count == parts.count else { return nil }
        self.list = list
    }
}

extension Seconds {
    var amount: TimeAmount { .nanoseconds(nanoseconds) }
}

extension Victims: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}
