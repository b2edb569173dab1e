// The bounds of `hub-certs serve`. Times are nanoseconds, sizes bytes.

package struct CertsSettings: Sendable {
    /// Connections that are served at once; more wait.
    package var maxConnections = 1000
    /// Of one address.
    package var maxConnectionsPerAddress = 250
    /// Connections that wait.
    package var maxWaiting = 1000
    /// For TLS handshake and first request together, for every later request, and for the answer to leave.
    package var requestTimeout: Int64 = 10_000_000_000
    /// Largest body of a request.
    package var maxBody = 1 << 20
    /// All bodies that are being received, together.
    package var maxBuffered = 64 << 20
    /// Lines for `taskmanager` that may wait for their reader.
    package var maxUnsent = 4 << 20
    /// Days for which a node's certificate is valid.
    package var edgeDays: Int64 = 365
    /// Seconds after its expiry in which a node's certificate still renews itself, and does nothing else.
    package var renewalGrace: Int64 = 0
    /// Tokens that are not for one node are good.
    package var takesSharedTokens = true
    /// Seconds by which a token may have expired.
    package var tokenLeeway: Int64 = 0
    /// Nodes that may ever get a certificate.
    package var maxNodes = 100_000
    /// Certificates for one node within a minute.
    package var nodeRate = 10
    /// Wrong tokens of one address within a minute that are answered 401; more are answered 429.
    package var tokenFailures = 10
    /// Addresses whose wrong tokens are counted.
    package var maxAddresses = 10_000

    package init() {}
}
