// After a reload: which sessions of one event loop are still entitled (design: "hub-wsserve", rule 6).

internal import HubPipe
internal import HubTLS
internal import NIOCore

extension LoopPart {
    /// Sessions that are judged before other work of the loop gets its turn. One costs a signature check if an authority has gone.
    private static let turn = 64

    /// Closes the sessions that `trust` would not let in. They were let in under `earlier`.
    func judge(_ trust: ClientTrust, after earlier: ClientTrust, _ exchange: Exchange) {
        let hasLost = !earlier.authorities.isSubset(of: trust.authorities)
        let now = exchange.settings.closesExpired ? wallMicroseconds() / 1_000_000 : nil
        // Without a lost authority only the nodes of the list are concerned.
        let concerned = connections.values.filter { hasLost || now != nil || trust.revocations.concerns($0.node) }
        judge(concerned[...], trust, earlier, now, closed: 0, exchange)
    }

    private func judge(
        _ waiting: ArraySlice<EdgeConnection>, _ trust: ClientTrust, _ earlier: ClientTrust, _ now: Int64?, closed: Int,
        _ exchange: Exchange
    ) {
        var closed = closed
        for connection in waiting.prefix(Self.turn) where connection.phase == .open {
            guard let problem = connection.problem(trust, after: earlier, now: now) else { continue }
            closed += 1
            exchange.counters.add(problem.counter)
            connection.close(.policy, problem.rawValue)
        }
        let rest = waiting.dropFirst(Self.turn)
        guard rest.isEmpty else {
            let closed = closed
            let left = NIOLoopBound(rest, eventLoop: eventLoop)
            return eventLoop.execute { self.judge(left.value, trust, earlier, now, closed: closed, exchange) }
        }
        guard closed > 0 else { return }
        exchange.notices.own(.warning, "sessions_closed", ["loop": "\(index)", "closed": "\(closed)"])
    }
}

extension LoopPart {
    /// One line per authority.
    func countIssuers(_ exchange: Exchange) {
        var counts: [String: Int] = [:]
        for connection in connections.values { counts[connection.tls?.peerIssuer ?? "", default: 0] += 1 }
        for (issuer, count) in counts.sorted(by: { $0.key < $1.key }) {
            exchange.notices.own(.info, "sessions_by_issuer", ["loop": "\(index)", "issuer": issuer, "sessions": "\(count)"])
        }
    }
}

extension EdgeConnection {
    fileprivate var tls: TLSHandler? { try? context?.pipeline.syncOperations.handler(type: TLSHandler.self) }

    fileprivate func problem(_ trust: ClientTrust, after earlier: ClientTrust, now: Int64?) -> ClientTrust.Problem? {
        guard let tls else { return nil }
        return trust.problem(tls.peer?.facts, tls, of: node, verifiedUnder: earlier, now: now)
    }
}

extension ClientTrust.Problem {
    fileprivate var counter: ServeCounters.Cause {
        switch self {
        case .revoked: .closedRevoked
        case .untrusted: .closedUntrusted
        case .expired: .closedExpired
        }
    }
}
