// What a run asks of every edge.

package import HubTLS
package import NIOCore

/// Some of the nodes, or one object on all of them.
package enum Victims: Sendable, Equatable {
    /// Nothing and nobody.
    case none
    /// The first nodes, so many in a hundred (rounded up).
    case percent(Double)
    /// Messages with this `content.metadata.uid` or this `route.resource`.
    case key([UInt8])

    /// `25%`, or a key.
    package init?(_ text: String) {
        guard !text.isEmpty else { return nil }
        if text.hasSuffix("%") {
            guard let number = Double(text.dropLast()), (0...100).contains(number) else { return nil }
            self = .percent(number)
        } else {
            self = .key(Array(text.utf8))
        }
    }

    /// Node `index` of `total` is one of them.
    package func includes(node index: Int, of total: Int) -> Bool {
        guard case .percent(let share) = self else { return false }
        return Double(index) < share / 100 * Double(total)
    }
}

/// Messages that each node sends upstream.
package struct FloodPlan: Sendable, Equatable {
    /// Messages per node.
    package var count: Int
    /// Bytes of one message, with its newline.
    package var size: Int
    /// Messages per second of all nodes together; 0 for as fast as they are taken.
    package var rate: Double

    package init(count: Int, size: Int, rate: Double) {
        self.count = count
        self.size = size
        self.rate = rate
    }
}

/// How every edge of a run connects and behaves.
package struct SwarmSettings: Sendable {
    package var host: String
    package var port: Int
    /// Addresses of this machine from which connections are made, node by node in turn; the system chooses if there is none.
    package var sources: [SocketAddress] = []
    /// Nil for plain `ws://`.
    package var tls: TLSContext?
    package var peerName: PeerName
    package var project: String
    package var prefix: String
    /// The number in the name of the first node.
    package var first: Int
    package var nodes: Int

    /// Handshakes that one event loop runs at once.
    package var parallel = 32
    /// Longest time from the start of a connection to the end of the upgrade.
    package var handshakeTimeout = TimeAmount.seconds(10)
    /// How long a connection that cannot be made is tried again, from the start of the run.
    package var patience = TimeAmount.zero
    /// A lost connection is made again.
    package var reconnects = false
    /// A later connection of a node resumes its TLS session.
    package var resumes = false

    package var keepalive = TimeAmount.seconds(15)
    package var ackDelay = TimeAmount.zero
    /// Never acknowledged.
    package var unacknowledged = Victims.none
    /// Answered with an error.
    package var refused = Victims.none
    /// Nodes that stop reading once they are connected.
    package var stalled = Victims.none
    /// Nodes that read 4 KiB at a time, ten times a second, once they are connected.
    package var slow = Victims.none
    /// Nodes that send nothing once they are connected, neither keepalives nor pongs nor acknowledgements.
    package var silent = Victims.none
    package var flood: FloodPlan?

    /// Largest message that is accepted, in bytes.
    package var maxMessage = 64 << 20
    /// Most messages that are remembered to tell duplicates, of all nodes together.
    package var remembered = 8 << 20
    /// Told of each cause of failure once per event loop: cause, node, detail.
    package var report: @Sendable (String, String, String) -> Void = { _, _, _ in }

    package init(host: String, port: Int, tls: TLSContext?, peerName: PeerName, project: String, prefix: String, first: Int, nodes: Int) {
        self.host = host
        self.port = port
        self.tls = tls
        self.peerName = peerName
        self.project = project
        self.prefix = prefix
        self.first = first
        self.nodes = nodes
    }

    package func name(_ index: Int) -> String { "\(prefix)\(first + index)" }
}
