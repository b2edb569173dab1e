// The bounds of hub-certs serve: nothing that a client does grows beyond one of these.

internal import ArgumentParser
internal import HubCerts
internal import HubCommand

struct CertsBounds: ParsableArguments {
    @Option(help: "Connections that are served at once; more wait. Its variable is HUB_CERTS_MAX_CONNECTIONS.")
    var maxConnections: Int = Environment.option("certs-max-connections", 1000)

    @Option(
        help: """
            Of them, those of one address (IPv6: of one /64); its others wait while those of other addresses are served. Behind a proxy that \
            has one address for all, this is the bound for all.
            """)
    var maxConnectionsPerAddress: Int = Environment.option("max-connections-per-address", 250)

    @Option(
        help: """
            Connections that wait; past it the address with the most of them loses its newest. Its variable is HUB_CERTS_MAX_WAITING.
            """)
    var maxWaiting: Int = Environment.option("certs-max-waiting", 1000)

    @Option(help: ArgumentHelp("Time for TLS handshake and request together, and for the answer to leave.", valueName: "seconds"))
    var requestTimeout: Seconds = Environment.option("request-timeout", Seconds(10))

    @Option(help: ArgumentHelp("Largest body; a larger one is answered 413.", valueName: "bytes"))
    var maxBody: ByteCount = Environment.option("max-body", .mebi(1))

    @Option(help: ArgumentHelp("All bodies that are being received; past it requests are answered 503.", valueName: "bytes"))
    var maxBodies: ByteCount = Environment.option("max-bodies", .mebi(64))

    @Option(
        help: ArgumentHelp("Lines that may wait for the reader of standard output; past it reports are answered 503.", valueName: "bytes"))
    var maxUnsent: ByteCount = Environment.option("max-unsent", .mebi(4))

    @Option(help: "Nodes that may ever get a certificate, by issued.jsonl; further ones are answered 503.")
    var maxNodes: Int = Environment.option("max-nodes", 100_000)

    @Option(help: "Certificates for one node within a minute; more are answered 429.")
    var nodeRate: Int = Environment.option("node-rate", 10)

    @Option(help: "Wrong tokens of one address within a minute that are answered 401; more are answered 429.")
    var tokenFailures: Int = Environment.option("token-failures", 10)

    @Option(help: "Addresses whose wrong tokens are counted; further ones share one count.")
    var maxAddresses: Int = Environment.option("max-addresses", 10_000)

    func validate() throws {
        guard maxConnections > 0, maxConnectionsPerAddress > 0, maxWaiting >= 0, maxNodes > 0, nodeRate > 0, tokenFailures >= 0,
            maxAddresses > 0
        else {
            throw ValidationError("the bounds must be positive")
        }
        guard requestTimeout.nanoseconds > 0 else { throw ValidationError("--request-timeout must be more than 0") }
        guard (1024...(64 << 20)).contains(maxBody.bytes), maxBodies.bytes >= maxBody.bytes else {
            throw ValidationError("--max-body must lie between 1 KiB and 64 MiB, and not exceed --max-bodies")
        }
    }

    var settings: CertsSettings {
        var settings = CertsSettings()
        settings.maxConnections = maxConnections
        settings.maxConnectionsPerAddress = maxConnectionsPerAddress
        settings.maxWaiting = maxWaiting
        settings.requestTimeout = requestTimeout.nanoseconds
        settings.maxBody = maxBody.bytes
        settings.maxBuffered = maxBodies.bytes
        settings.maxUnsent = maxUnsent.bytes
        settings.maxNodes = maxNodes
        settings.nodeRate = nodeRate
        settings.tokenFailures = tokenFailures
        settings.maxAddresses = maxAddresses
        return settings
    }
}
