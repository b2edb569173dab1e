// What the edges need before they connect: trust in the hub, and a certificate for each node.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe
internal import HubSwarm
internal import HubTLS
internal import Logging
internal import NIOCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

struct Access {
    /// Nil for plain `ws://`.
    var tls: TLSContext?
    /// One per node.
    var identities: [TLSIdentity]
    /// The CA that the edges know.
    var authority: Certificate?
    var store: CertificateStore?

    /// Takes what `--cert-dir` holds, and fetches the rest.
    /// - Parameter isTerminated: asked while something is waited for; it may wait a little itself.
    static func prepare(
        _ options: SwarmOptions, on group: any EventLoopGroup, logger: Logger, isTerminated: () -> Bool
    ) throws -> Access {
        if options.insecure { return Access(tls: nil, identities: []) }
        do {
            let store = try CertificateStore(options.join.directory)
            let token = try token(options.join)
            let authority = try authority(options, store, token, on: group, isTerminated: isTerminated)
            let tls = try TLSContext.client(authorities: authority.pem)
            var found: [Int: TLSIdentity] = [:]
            var missing: [Join.Node] = []
            for index in 0..<options.nodes.nodes {
                let name = "\(options.nodes.prefix)\(options.nodes.first + index)"
                if let identity = try store.load(name, authority: authority) {
                    found[index] = identity
                } else {
                    missing.append(Join.Node(index: index, name: name))
                }
            }
            if !missing.isEmpty {
                guard let token else { throw Failure(.configuration, "\(missing.count) nodes have no certificate, and no token was given") }
                let made = try join(missing, options, authority, token, store, on: group, logger: logger, isTerminated: isTerminated)
                found.merge(made) { $1 }
            }
            let identities = (0..<options.nodes.nodes).compactMap { found[$0] }
            guard identities.count == options.nodes.nodes else { throw Failure(.internalFault, "not every node has a certificate") }
            return Access(tls: tls, identities: identities, authority: authority, store: store)
        } catch let error as SwarmError {
            throw failure(error)
        } catch let error as TLSError {
            throw Failure(.configuration, error.description)
        }
    }

    /// New certificates for nodes that have one, as EdgeCore's rotation gets them; nodes that are refused keep theirs.
    ///
    /// - Returns: the new identities by node index, and how many nodes were refused.
    mutating func renew(
        _ options: SwarmOptions, on group: any EventLoopGroup, isTerminated: () -> Bool
    ) throws -> (made: [Int: TLSIdentity], refused: Int) {
        guard let known = authority, let store else { return ([:], 0) }
        do {
            let endpoint = try Self.certsEndpoint(options)
            let name = Self.peerName(options.serverName ?? endpoint.host)
            var next = known
            if options.join.refetchCa {
                let answer = Answer<Certificate>()
                Join.fetchAuthority(from: endpoint, peerName: name, knowing: known, on: group.next()).whenComplete { answer.set($0) }
                next = try Self.wait(for: answer, isTerminated)
                try store.save(authority: next)
            }
            let nodes = identities.enumerated().map { index, identity in
                Join.Node(index: index, name: "\(options.nodes.prefix)\(options.nodes.first + index)", identity: identity)
            }
            let join = try Join(nodes, at: endpoint, peerName: name, authority: known, token: nil, store: store)
            join.start(parallel: options.join.joinParallel, on: group)
            while !join.isOver {
                if isTerminated() { throw ExitCode.success }
            }
            let made = try join.result()
            for (index, identity) in made { identities[index] = identity }
            authority = next
            tls = try TLSContext.client(authorities: next.pem)
            return (made, join.refusedCount)
        } catch let error as SwarmError {
            throw Self.failure(error)
        } catch let error as TLSError {
            throw Failure(.configuration, error.description)
        }
    }

    /// An address is looked for among the certificate's addresses, anything else among its DNS names.
    static func peerName(_ text: String) -> PeerName {
        (try? SocketAddress(ipAddress: text, port: 0)) == nil ? .dns(text) : .address(text)
    }

    private static func token(_ options: JoinOptions) throws -> JoinToken? {
        if let path = options.tokenPath {
            let descriptor = try Descriptor.input(path)
            return try JoinToken(contents(descriptor.raw, path))
        }
        guard let number = options.tokenFd else { return nil }
        return try JoinToken(contents(number, "descriptor \(number)"))
    }

    /// All that comes from a file or a pipe; whoever writes the pipe may begin a little later.
    private static func contents(_ descriptor: Int32, _ name: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while bytes.count < maxToken {
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard unsafe poll(&ready, 1, tokenPatience) == 1 else { throw Failure(.noInput, "no token comes from \(name)") }
            let count = unsafe read(descriptor, &part, part.count)
            guard count >= 0 else { throw Failure(.noInput, "cannot read \(name): \(systemText(errno))") }
            if count == 0 { break }
            bytes.append(contentsOf: part[..<count])
        }
        return bytes
    }

    private static let maxToken = 64 << 10
    /// Milliseconds.
    private static let tokenPatience: Int32 = 5000

    /// The CA that was kept, if the token does not name another one; else the one that the service has.
    private static func authority(
        _ options: SwarmOptions, _ store: CertificateStore, _ token: JoinToken?, on group: any EventLoopGroup, isTerminated: () -> Bool
    ) throws -> Certificate {
        if let kept = try store.loadAuthority() {
            guard let token, try !Digest.isEqual(kept.sha256, token.caHash) else { return kept }
        }
        guard let token else { throw Failure(.configuration, "--cert-dir holds no CA, and no token was given") }
        let answer = Answer<Certificate>()
        Join.fetchAuthority(from: try certsEndpoint(options), token: token, on: group.next()).whenComplete { answer.set($0) }
        let fetched = try wait(for: answer, isTerminated)
        try store.save(authority: fetched)
        return fetched
    }

    private static func join(
        _ nodes: [Join.Node], _ options: SwarmOptions, _ authority: Certificate, _ token: JoinToken, _ store: CertificateStore,
        on group: any EventLoopGroup, logger: Logger, isTerminated: () -> Bool
    ) throws -> [Int: TLSIdentity] {
        let endpoint = try certsEndpoint(options)
        let join = try Join(
            nodes, at: endpoint, peerName: peerName(options.serverName ?? endpoint.host), authority: authority, token: token, store: store)
        let start = monotonicNanoseconds()
        var reported = start
        join.start(parallel: options.join.joinParallel, on: group)
        while !join.isOver {
            if isTerminated() { throw ExitCode.success }
            let now = monotonicNanoseconds()
            if now - reported >= 1_000_000_000 {
                logger.info("joining", metadata: ["joined": "\(join.madeCount)", "nodes": "\(nodes.count)"])
                reported = now
            }
        }
        let made = try join.result()
        let milliseconds = (monotonicNanoseconds() - start) / 1_000_000
        logger.info("joined", metadata: ["nodes": "\(made.count)", "milliseconds": "\(milliseconds)"])
        return made
    }

    private static func certsEndpoint(_ options: SwarmOptions) throws -> Endpoint {
        guard let endpoint = Endpoint(options.join.certsURL, schemes: ["https"], defaultPort: 10_002) else {
            throw Failure(.usage, "--certs-url must be https://<host>:<port>")
        }
        return endpoint
    }

    private static func wait<Value>(for answer: Answer<Value>, _ isTerminated: () -> Bool) throws -> Value {
        while true {
            if let result = answer.result {
                do {
                    return try result.get()
                } catch let error as SwarmError {
                    throw error
                } catch {
                    throw SwarmError(.unreachable, "cannot reach the certificate service: \(error)")
                }
            }
            if isTerminated() { throw ExitCode.success }
        }
    }

    private static func failure(_ error: SwarmError) -> Failure {
        let status: ExitStatus =
            switch error.code {
            case .token, .wrongCA, .certificate: .configuration
            case .refused: .noPermission
            case .unreachable: .unavailable
            case .protocolViolation: .protocolViolation
            case .file: .cannotCreate
            }
        return Failure(status, error.detail)
    }
}
