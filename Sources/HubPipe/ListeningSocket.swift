// A socket that listens before there is anybody to accept: it is opened with privileges, and served without them.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The owner of the descriptor is whoever takes `raw` over.
package struct ListeningSocket: Sendable {
    package let raw: Int32
    package let port: Int
    private let backlog: Int32

    /// - Parameter host: an IP address.
    package init(host: String, port: Int, backlog: Int32) throws(PipeError) {
        var bound = Int32(port)
        raw = unsafe CHub_listen(host, &bound, backlog)
        guard raw >= 0 else { throw PipeError(.create, "cannot listen on \(host):\(port)", errno: CHub_errno()) }
        self.port = Int(bound)
        self.backlog = backlog
    }

    /// SwiftNIO, when it takes over a socket, makes it listen with a shorter queue.
    package func restoreBacklog() { _ = listen(raw, backlog) }
}
