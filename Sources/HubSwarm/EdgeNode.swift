// One node of the swarm: what outlives its connections. It belongs to one event loop for the whole run.

internal import HubTLS

final class EdgeNode {
    let index: Int
    let name: String
    var identity: TLSIdentity?
    /// The live connection, or the one that is being made.
    var connection: EdgeHandler?
    /// The TLS session that the next connection can resume.
    var session: TLSSession?
    /// Failed attempts since the last success; decides how long the next one waits.
    var failures = 0
    /// It has a new certificate: its connection ends so that it can be made again.
    var isRenewed = false
    /// It was connected at least once.
    var wasOpen = false
    /// Its last connection ended without being asked to.
    var isLost = false
    var isGivenUp = false
    /// The sequence number of the next message that it sends.
    var nextSequence = 0
    var isFlooded = false

    init(index: Int, name: String, identity: TLSIdentity?) {
        self.index = index
        self.name = name
        self.identity = identity
    }
}
