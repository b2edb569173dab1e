// One of the connections over which nodes join; it takes one node after the other.

internal import HubTLS
internal import NIOCore
internal import NIOHTTP1

final class JoinWorker {
    private let join: Join
    private let eventLoop: any EventLoop
    private var client: CertificateClient?
    /// Attempts of the current node.
    private var attempts = 0

    private static let maxAttempts = 5
    private static let pause = TimeAmount.milliseconds(500)

    init(_ join: Join, _ eventLoop: any EventLoop) {
        self.join = join
        self.eventLoop = eventLoop
    }

    /// Takes the next node, or ends.
    func next() {
        guard let node = join.take() else { return end() }
        do throws(TLSError) {
            let key = try PrivateKey.generate()
            let request = try CertificateRequest.make(subject: .node(node.name), key: key)
            attempts = 0
            ask(node, key, request)
        } catch {
            join.fail(SwarmError(.certificate, error.description))
            end()
        }
    }

    private func end() {
        client?.close()
        client = nil
        join.leave()
    }

    private func ask(_ node: Join.Node, _ key: PrivateKey, _ request: [UInt8]) {
        attempts += 1
        guard let client else { return connect(node, key, request) }
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/edge.crt")
        head.headers.add(name: "Host", value: join.endpoint.description)
        head.headers.add(name: "NodeName", value: node.name)
        if node.identity == nil, let token = join.token { head.headers.add(name: "Authorization", value: "Bearer \(token.bearer)") }
        head.headers.add(name: "Content-Length", value: "\(request.count)")
        guard let answer = client.send(head, body: request) else {
            // The service closed it after the answer before.
            self.client = nil
            return connect(node, key, request)
        }
        answer.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let answer): self.answered(node, key, request, answer)
            case .failure(let error): self.again(node, key, request, error)
            }
        }
    }

    private func connect(_ node: Join.Node, _ key: PrivateKey, _ request: [UInt8]) {
        CertificateClient.connect(
            to: join.endpoint, tls: join.tls, peerName: join.peerName, identity: node.identity, timeout: Join.timeout, on: eventLoop
        )
        .assumeIsolated()
        .whenComplete { result in
            switch result {
            case .success(let client):
                self.client = client.value
                self.ask(node, key, request)
            case .failure(let error): self.again(node, key, request, error)
            }
        }
    }

    /// Tries once more after a failure, unless it will not help.
    private func again(_ node: Join.Node, _ key: PrivateKey, _ request: [UInt8], _ error: any Error) {
        client?.close()
        client = nil
        let reason = error as? SwarmError ?? SwarmError(.unreachable, FailureName.of(error).detail)
        guard attempts < Self.maxAttempts, reason.code != .certificate, reason.code != .protocolViolation else {
            join.fail(SwarmError(reason.code, "\(join.endpoint): \(reason.detail)"))
            return end()
        }
        eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { self.ask(node, key, request) }
    }

    private func answered(_ node: Join.Node, _ key: PrivateKey, _ request: [UInt8], _ answer: CertificateAnswer) {
        if node.identity != nil {
            // The next node has another certificate to show.
            client?.close()
            client = nil
        }
        switch answer.status {
        case 200: break
        case 429, 503: return again(node, key, request, SwarmError(.refused, "the certificate service is busy (\(answer.status))"))
        default:
            if node.identity != nil {
                join.refuse()
                return next()
            }
            join.fail(SwarmError(.refused, "the request for \(node.name) was answered with status \(answer.status)"))
            return end()
        }
        do {
            let certificate = try Certificate.read(der: answer.body)
            guard certificate.belongs(to: key) else { throw SwarmError(.certificate, "the certificate for \(node.name) has another key") }
            if node.identity == nil { try certificate.verify(issuedBy: join.authority, purpose: .client) }
            try join.store.save(node.name, certificate: certificate, key: key)
            join.finish(node, try TLSIdentity(certificates: certificate.pem, privateKey: key.pem))
        } catch let error as SwarmError {
            join.fail(error)
            return end()
        } catch {
            join.fail(SwarmError(.certificate, "the certificate for \(node.name): \(error)"))
            return end()
        }
        next()
    }
}
