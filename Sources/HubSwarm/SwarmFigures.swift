// What a run counts. Each event loop has its own, so that counting needs no lock; they are added up when somebody asks.

package struct SwarmFigures: Sendable, Equatable {
    /// Connections that are open now.
    package var connected = 0
    /// Upgrades that succeeded, over the whole run or round.
    package var opened = 0
    /// Of these, with a resumed TLS session.
    package var resumed = 0
    /// Connections made again after a loss.
    package var reconnects = 0
    /// Connections that were closed to be made again with a new certificate.
    package var renewed = 0
    /// Connections that ended without being asked to.
    package var lost = 0
    /// Nodes that are not connected and will not be tried again.
    package var givenUp = 0
    /// Duration of successful connects, from the TCP connect to the end of the upgrade, in microseconds.
    package var handshakes = LatencyHistogram()
    /// Monotonic nanoseconds of the last successful upgrade.
    package var lastOpened: Int64 = 0

    /// Messages that came down.
    package var received = 0
    package var distinct = 0
    package var duplicates = 0
    /// Messages beyond the limit of what is remembered; counted neither as distinct nor as duplicates.
    package var untracked = 0
    /// Bytes of the messages, without frames.
    package var receivedBytes = 0
    package var acks = 0
    package var refusals = 0
    /// Messages that would have been acknowledged but for the behaviour that was asked for.
    package var withheld = 0
    package var pings = 0
    /// Monotonic nanoseconds of the first and the last message, 0 before the first.
    package var firstReceived: Int64 = 0
    package var lastReceived: Int64 = 0
    /// From the content's `sent` to the arrival, in microseconds.
    package var latency = LatencyHistogram()

    /// Messages that were handed to the socket.
    package var sent = 0
    package var sentBytes = 0
    package var keepalives = 0
    /// Messages that were made and lost with their connection before they had left.
    package var unsent = 0
    /// Nodes that have made all messages of their flood.
    package var flooded = 0
    /// Nodes that were given up before that.
    package var abandoned = 0
    /// Monotonic nanoseconds of the first and the last completed write of a flood.
    package var firstSent: Int64 = 0
    package var lastSent: Int64 = 0

    package var causes = Causes()

    package init() {}

    package mutating func add(_ other: SwarmFigures) {
        for member in Self.sums { self[keyPath: member] += other[keyPath: member] }
        for member in Self.earliest where other[keyPath: member] > 0 {
            self[keyPath: member] = self[keyPath: member] == 0 ? other[keyPath: member] : min(self[keyPath: member], other[keyPath: member])
        }
        for member in Self.latest { self[keyPath: member] = max(self[keyPath: member], other[keyPath: member]) }
        handshakes.add(other.handshakes)
        latency.add(other.latency)
        causes.add(other.causes)
    }

    private static var sums: [WritableKeyPath<SwarmFigures, Int>] {
        [
            \.connected, \.opened, \.resumed, \.reconnects, \.renewed, \.lost, \.givenUp, \.received, \.distinct, \.duplicates, \.untracked,
            \.receivedBytes, \.acks, \.refusals, \.withheld, \.pings, \.sent, \.sentBytes, \.unsent, \.keepalives, \.flooded, \.abandoned,
        ]
    }
    private static var earliest: [WritableKeyPath<SwarmFigures, Int64>] { [\.firstReceived, \.firstSent] }
    private static var latest: [WritableKeyPath<SwarmFigures, Int64>] { [\.lastReceived, \.lastSent, \.lastOpened] }
}
