// The bounds of a server; each is an option of hub-wsserve.

/// Bounds in bytes, counts and nanoseconds. The defaults are those of the design, "hub-wsserve" and "Flow control".
package struct ServeSettings: Sendable {
    /// Nodes that may be connected at once.
    package var nodeLimit = 10_000
    /// Largest message of a node.
    package var maxMessage = 32 << 20
    /// All messages together of which a part has come.
    package var maxBuffered = 256 << 20
    /// Bytes that may wait unsent for one node.
    package var maxUnsent = 4 << 20
    /// How long nothing may leave a connection that is over `maxUnsent`.
    package var stall: Int64 = 10_000_000_000
    /// Time between pings; two missed pongs close the connection. 0 sends none.
    package var ping: Int64 = 15_000_000_000
    /// TLS handshake and upgrade together.
    package var handshakeTimeout: Int64 = 10_000_000_000
    /// TLS handshakes and upgrades at once; more wait.
    package var maxHandshakes = 256
    /// Of one address.
    package var maxHandshakesPerAddress = 64
    /// Accepted connections whose handshake waits for its turn.
    package var maxWaiting = 16_384
    /// All connections, whatever their state.
    package var maxConnections = 16_384
    /// Bytes of refused frames that are kept for the rejects, in the life of the process.
    package var maxRejects = 64 << 20
    /// Output that may wait for the reader of standard output before sockets are left unread.
    package var maxOutput = 16 << 20
    /// How long connections may take to flush and close after SIGTERM.
    package var drain: Int64 = 5_000_000_000
    /// Certificates of old EdgeCores, all named `kubeedge.io`, are admitted as whatever node their header says.
    package var legacyIdentity = false
    /// A reload closes the sessions whose certificate has expired since they began.
    package var closesExpired = false
    /// Event loops.
    package var threads = 1

    package init() {}
}
