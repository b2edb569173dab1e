// All edges of a run, spread over the event loops. Safe to use from any thread that is not one of them.

package import HubTLS
package import NIOCore

package final class Swarm: Sendable {
    private let loops: [NIOLoopBound<SwarmLoop>]

    /// - Parameter identities: one per node, or none for plain `ws://`.
    package init(_ settings: SwarmSettings, identities: [TLSIdentity], on group: any EventLoopGroup) throws {
        let eventLoops = Array(group.makeIterator())
        var settings = settings
        settings.parallel = max(1, settings.parallel / eventLoops.count)
        let shared = settings
        loops = try eventLoops.enumerated().map { number, eventLoop in
            try eventLoop.submit {
                let nodes = stride(from: number, to: shared.nodes, by: eventLoops.count).map { index in
                    EdgeNode(index: index, name: shared.name(index), identity: identities.indices.contains(index) ? identities[index] : nil)
                }
                let loop = SwarmLoop(eventLoop, shared, nodes: nodes, remembered: shared.remembered / eventLoops.count)
                return NIOLoopBound(loop, eventLoop: eventLoop)
            }.wait()
        }
    }

    /// Begins to connect every node that is not connected.
    package func start() throws { try onAll { $0.start() } }

    /// The sum of all figures so far. The figures of handshakes count from the last `resetHandshakes`.
    package func figures() throws -> SwarmFigures {
        var total = SwarmFigures()
        for loop in loops {
            total.add(try loop.eventLoop.submit { loop.value.figures }.wait())
        }
        return total
    }

    package func resetHandshakes() throws { try onAll { $0.resetHandshakes() } }

    /// Begins the flood of the settings on every connected node, and on those that connect later.
    package func startFlood() throws { try onAll { $0.startFlood() } }

    /// Closes all connections as edges do that go away.
    /// - Parameter forGood: nothing is connected again, and what ends now is no failure.
    package func leave(forGood: Bool) throws { try onAll { $0.leave(forGood: forGood) } }

    /// Has nodes connect anew with other certificates.
    /// - Parameter identities: by node index; other nodes keep theirs and their connections.
    /// - Parameter tls: whom all connections trust from now on.
    package func renew(_ identities: [Int: TLSIdentity], tls: TLSContext) throws { try onAll { $0.renew(identities, tls) } }

    private func onAll(_ body: @Sendable @escaping (SwarmLoop) -> Void) throws {
        for loop in loops {
            try loop.eventLoop.submit { body(loop.value) }.wait()
        }
    }
}
