// How edges get their certificates (KubeEdge: edge/pkg/edgehub/certificate): the CA is fetched from anybody and believed only if
// the token names its hash; each node then makes a key, and sends a request with the token's other part as a bearer token. A node that has
// a certificate shows that instead, and gets a new one; as an edge does, it does not look at who issued it.

package import HubTLS
package import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// Certificates for many nodes, some requests at a time. Safe to ask from any thread.
package final class Join: Sendable {
    /// A node that is to get a certificate.
    package struct Node: Sendable {
        package let index: Int
        package let name: String
        /// What it has; nil asks with the token.
        package let identity: TLSIdentity?

        package init(index: Int, name: String, identity: TLSIdentity? = nil) {
            self.index = index
            self.name = name
            self.identity = identity
        }
    }

    private struct State {
        var waiting: [Node]
        var made: [Int: TLSIdentity] = [:]
        /// Nodes that have a certificate and got no other.
        var refused = 0
        var working = 0
        var error: SwarmError?
    }

    let endpoint: Endpoint
    let tls: TLSContext
    let peerName: PeerName
    let authority: Certificate
    let token: JoinToken?
    let store: CertificateStore
    private let state: Mutex<State>

    /// Longest time for one request, with its connection.
    static let timeout = TimeAmount.seconds(10)

    /// - Throws: `.certificate` when the authority is unusable.
    package init(
        _ nodes: [Node], at endpoint: Endpoint, peerName: PeerName, authority: Certificate, token: JoinToken?, store: CertificateStore
    ) throws(SwarmError) {
        self.endpoint = endpoint
        self.peerName = peerName
        self.authority = authority
        self.token = token
        self.store = store
        do throws(TLSError) {
            tls = try TLSContext.client(authorities: try authority.pem)
        } catch {
            throw SwarmError(.certificate, error.description)
        }
        state = Mutex(State(waiting: nodes.reversed()))
    }

    /// Fetches the CA from a service that `authority` vouches for.
    ///
    /// - Throws: by the future, `.certificate` when the service's certificate does not verify, `.refused`, `.unreachable`.
    package static func fetchAuthority(
        from endpoint: Endpoint, peerName: PeerName, knowing authority: Certificate, on eventLoop: any EventLoop
    ) -> EventLoopFuture<Certificate> {
        do throws(TLSError) {
            let tls = try TLSContext.client(authorities: try authority.pem)
            return fetchAuthority(from: endpoint, tls, peerName, on: eventLoop).flatMapThrowing { try Certificate.read(der: $0) }
        } catch {
            return eventLoop.makeFailedFuture(SwarmError(.certificate, error.description))
        }
    }

    /// Fetches the CA without trust, and checks it against the token.
    ///
    /// - Throws: by the future, `.wrongCA` when the hash is another, `.refused` for another status than 200, `.unreachable`.
    package static func fetchAuthority(
        from endpoint: Endpoint, token: JoinToken, on eventLoop: any EventLoop
    ) -> EventLoopFuture<Certificate> {
        let tls: TLSContext
        do throws(TLSError) {
            tls = try TLSContext.client(authorities: nil)
        } catch {
            return eventLoop.makeFailedFuture(SwarmError(.certificate, error.description))
        }
        return fetchAuthority(from: endpoint, tls, .any, on: eventLoop).flatMapThrowing { try check($0, token) }
    }

    private static func fetchAuthority(
        from endpoint: Endpoint, _ tls: TLSContext, _ peerName: PeerName, on eventLoop: any EventLoop
    ) -> EventLoopFuture<[UInt8]> {
        eventLoop.flatSubmit {
            CertificateClient.connect(to: endpoint, tls: tls, peerName: peerName, timeout: timeout, on: eventLoop)
                .flatMap { client in
                    let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/ca.crt", headers: ["Host": endpoint.description])
                    let answer = client.value.send(head) ?? eventLoop.makeFailedFuture(SwarmError(.unreachable, "the connection is closed"))
                    return answer.always { _ in client.value.close() }
                }
                .flatMapThrowing { answer in
                    guard answer.status == 200 else {
                        throw SwarmError(.refused, "the request for the CA was answered with \(answer.status)")
                    }
                    return answer.body
                }
        }
    }

    /// The CA in `der`, if it is the one that `token` names.
    package static func check(_ der: [UInt8], _ token: JoinToken) throws(SwarmError) -> Certificate {
        do throws(TLSError) {
            let certificate = try Certificate.read(der: der)
            guard Digest.isEqual(try certificate.sha256, token.caHash) else {
                throw TLSError(.verification, "")
            }
            return certificate
        } catch {
            guard error.code == .verification else { throw SwarmError(.protocolViolation, "the CA: \(error.detail)") }
            throw SwarmError(.wrongCA, "the CA of the certificate service is not the one that the token names")
        }
    }

    /// Begins.
    package func start(parallel: Int, on group: any EventLoopGroup) {
        let count = state.withLock { state in
            state.working = min(parallel, state.waiting.count)
            return state.working
        }
        for _ in 0..<count {
            let eventLoop = group.next()
            eventLoop.execute { JoinWorker(self, eventLoop).next() }
        }
    }

    /// Nothing is under way any more.
    package var isOver: Bool { state.withLock { $0.working == 0 } }

    package var madeCount: Int { state.withLock { $0.made.count } }

    /// Nodes that have a certificate and were refused another one.
    package var refusedCount: Int { state.withLock { $0.refused } }

    /// The identities by node index, once `isOver`.
    /// - Throws: the first error.
    package func result() throws(SwarmError) -> [Int: TLSIdentity] {
        let (made, error) = state.withLock { ($0.made, $0.error) }
        if let error { throw error }
        return made
    }

    // MARK: For the workers

    /// The next node, nil when there is none, or after an error.
    func take() -> Node? {
        state.withLock { state in state.error == nil ? state.waiting.popLast() : nil }
    }

    func finish(_ node: Node, _ identity: TLSIdentity) { state.withLock { $0.made[node.index] = identity } }

    func refuse() { state.withLock { $0.refused += 1 } }

    func fail(_ error: SwarmError) {
        state.withLock { state in if state.error == nil { state.error = error } }
    }

    func leave() { state.withLock { $0.working -= 1 } }
}
