// The HTTPS side as a state machine: requests in, answers out, without a socket (design: "hub-certs").
//
// A request is judged twice: `begin` sees its head, so that nobody without a credential can send a body that is kept; `finish` sees
// the body. An answer may have to wait until a record or a line is written.
//
// Differs from KubeEdge v1.23.1 (cloud/pkg/cloudhub/servers/httpserver): a shared certificate `kubeedge.io` renews nothing, the two POST
// routes need the node's certificate, and `GET /node/{node}` tells nobody without a credential which nodes exist. It answers 404 then,
// because `keadm join` asks without one and goes on only after 404. A certificate that is revoked or has expired is as good as none, and a
// token for one node is good for that node alone.

internal import HubMessage
package import HubPipe
internal import HubTLS

/// Used by one thread at a time.
package final class CertsService {
    /// What a request that passed `begin` waits for.
    package enum Task: Sendable, Equatable {
        case enroll(node: String, IssuedRecord.Credential, remote: String, token: JoinClaims? = nil)
        case upgrade(node: String)
        case status(node: String, type: String, task: String)
    }

    package enum Admission: Sendable, Equatable {
        /// The answer is known; a body does not matter.
        case answer(CertsResponse)
        /// `finish` needs the body.
        case proceed(Task)
    }

    package enum Answer: Sendable, Equatable {
        case now(CertsResponse)
        /// The answer, once the record is on the disk.
        case afterRecord(CertsResponse, IssuedRecord)
        /// The answer, once the line has left on standard output.
        case afterLine(CertsResponse, [UInt8])
    }

    /// Replaced when the files are read again.
    package var authorities: AuthoritySet
    package var rules: EnrollmentRules
    package private(set) var nodes: IssuedNodes
    package private(set) var spent: SpentTokens
    private var failures: FailureLimiter
    private let counters: CertsCounters
    private let notify: (Notice) -> Void

    /// - Parameter notify: gets what is worth a log line.
    package init(
        authorities: AuthoritySet, nodes: IssuedNodes, spent: SpentTokens = SpentTokens(), failures: FailureLimiter,
        rules: EnrollmentRules, counters: CertsCounters, notify: @escaping (Notice) -> Void
    ) {
        self.authorities = authorities
        self.nodes = nodes
        self.spent = spent
        self.failures = failures
        self.rules = rules
        self.counters = counters
        self.notify = notify
    }

    // MARK: The head

    /// - Parameter now: seconds since 1970.
    package func begin(_ request: CertsRequest, now: Int64) -> Admission {
        counters.add(.requests)
        guard let route = CertsRoute(target: request.target) else { return .answer(CertsResponse(404, "not found")) }
        guard request.method == route.method else {
            return .answer(CertsResponse(405, "method not allowed").with("Allow", route.method))
        }
        guard request.nodeNames.count <= 1, request.authorizations.count <= 1 else {
            return .answer(CertsResponse(400, "NodeName and Authorization may come once"))
        }
        if route == .authority { return .answer(.certificate(authorities.signing.certificate.der)) }
        var request = request
        switch rules.standing(of: request, now: now) {
        case .good: break
        case .inGrace where route == .enroll: break
        case .inGrace, .expired:
            // Nothing but a token helps.
            if request.authorizations.isEmpty { return .answer(refuse(request, "the certificate has expired", now)) }
            request.identity = .other
        case .revoked:
            if request.authorizations.isEmpty { return .answer(refuse(request, "the certificate is revoked", now)) }
            request.identity = .other
        }
        switch route {
        case .authority: return .answer(CertsResponse(404, "not found"))
        case .enroll: return beginEnrolment(request, now)
        case .node(let node): return .answer(lookUp(node, request, now))
        case .upgrade:
            guard case .node(let node) = request.identity else { return .answer(unauthorized("a node's certificate is needed")) }
            return .proceed(.upgrade(node: node))
        case .status(let type, let task, let node):
            guard case .node(let owner) = request.identity else { return .answer(unauthorized("a node's certificate is needed")) }
            guard owner == node else { return .answer(forbidden("the certificate is that of another node")) }
            return .proceed(.status(node: node, type: type, task: task))
        }
    }

    private func beginEnrolment(_ request: CertsRequest, _ now: Int64) -> Admission {
        let node = request.nodeNames.first ?? ""
        let credential: IssuedRecord.Credential
        var token: JoinClaims?
        if case .node(node) = request.identity {
            credential = .certificate
        } else {
            if request.authorizations.isEmpty, request.identity != .none {
                return .answer(unauthorized("the certificate is not that of the node"))
            }
            do throws(Refused) {
                let claims = try checkToken(request, now, for: node)
                if claims.id != nil { token = claims }
            } catch {
                return .answer(error.response)
            }
            credential = .token
        }
        guard NodeName.isValid(Array(node.utf8)) else {
            return .answer(refuse(.nodeName, node, request.remote))
        }
        guard !rules.revocations.isBanned(node) else {
            return .answer(refuse(request, "the node is banned", now))
        }
        return .proceed(.enroll(node: node, credential, remote: request.remote, token: token))
    }

    private func lookUp(_ node: String, _ request: CertsRequest, _ now: Int64) -> CertsResponse {
        let absent = CertsResponse(404, "Node not found")
        if case .node = request.identity {
        } else {
            guard !request.authorizations.isEmpty else { return absent }
            do throws(Refused) { _ = try checkToken(request, now, for: node) } catch { return error.response }
        }
        return nodes.contains(node) ? CertsResponse(200, "Node found") : absent
    }

    // MARK: Credentials

    private struct Refused: Error {
        let response: CertsResponse
    }

    /// - Returns: what the bearer token says, when it is good for `node`.
    private func checkToken(_ request: CertsRequest, _ now: Int64, for node: String) throws(Refused) -> JoinClaims {
        let parts = (request.authorizations.first ?? "").split(separator: " ", omittingEmptySubsequences: true)
        let reason: String
        if parts.count == 2, parts[0].lowercased() == "bearer" {
            switch authorities.verify(bearer: Array(parts[1].utf8), now: now, leeway: rules.tokenLeeway) {
            case .valid(let claims):
                guard let problem = problem(claims, node) else { return claims }
                reason = problem
            case .expired: reason = "the token has expired"
            case .early: reason = "the token is not good yet"
            case .invalid: reason = "the token is not valid"
            }
        } else if request.authorizations.isEmpty {
            throw Refused(response: unauthorized("a token or the node's certificate is needed"))
        } else {
            reason = "Authorization is not 'Bearer <token>'"
        }
        if let wait = failures.failed(request.remote, now: now) { throw Refused(response: limited(wait)) }
        notify(
            Notice(
                .warning, "token_refused", ["remote": request.remote, "node": String(node.prefix(253)), "reason": reason]))
        throw Refused(response: unauthorized(reason))
    }

    /// Why a token that is ours is not good for `node`.
    private func problem(_ claims: JoinClaims, _ node: String) -> String? {
        if let owner = claims.node {
            if owner != node { return "the token is for another node" }
        } else if !rules.takesSharedTokens {
            return "only tokens for one node are taken"
        }
        return claims.id.map { spent.contains($0) } ?? false ? "the token has been used" : nil
    }

    /// A client that is known and not wanted. It may come as often as one with a wrong token.
    private func refuse(_ request: CertsRequest, _ reason: String, _ now: Int64) -> CertsResponse {
        if let wait = failures.failed(request.remote, now: now) { return limited(wait) }
        let node = if case .node(let node) = request.identity { node } else { request.nodeNames.first ?? "" }
        notify(
            Notice(
                .warning, "client_refused", ["node": String(node.prefix(253)), "remote": request.remote, "reason": reason]))
        return forbidden(reason)
    }

    private func limited(_ wait: Int64) -> CertsResponse {
        counters.add(.limited)
        return CertsResponse(429, "too many refused requests from this address").with("Retry-After", "\(wait)").closing()
    }

    private func unauthorized(_ text: String) -> CertsResponse {
        counters.add(.unauthorized)
        return CertsResponse(401, text).with("WWW-Authenticate", "Bearer")
    }

    private func forbidden(_ text: String) -> CertsResponse {
        counters.add(.unauthorized)
        return CertsResponse(403, text)
    }

    // MARK: The body

    /// - Parameter now: seconds since 1970.
    package func finish(_ task: Task, body: [UInt8], now: Int64) -> Answer {
        switch task {
        case .enroll(let node, let credential, let remote, let token): return enroll(node, credential, remote, token, body, now)
        case .upgrade(let node):
            return report(node) { () throws(TaskReport.Refusal) in try TaskReport(upgrade: body, node: node) }
        case .status(let node, let type, let task):
            return report(node) { () throws(TaskReport.Refusal) in
                try TaskReport(status: body, node: node, type: type, task: task)
            }
        }
    }

    private func enroll(
        _ node: String, _ credential: IssuedRecord.Credential, _ remote: String, _ token: JoinClaims?, _ body: [UInt8], _ now: Int64
    ) -> Answer {
        let key: PublicKey
        do throws(EnrollmentPolicy.Refusal) {
            key = try EnrollmentPolicy.examine(body, node: node)
        } catch {
            return .now(refuse(error, node, remote))
        }
        switch nodes.admit(node, now: now) {
        case .allowed: break
        case .full:
            counters.add(.limited)
            notify(Notice(.error, "node_limit", ["node": node, "nodes": "\(nodes.count)"]))
            return .now(CertsResponse(503, "no more nodes are taken").with("Retry-After", "300"))
        case .tooOften(let wait):
            counters.add(.limited)
            return .now(CertsResponse(429, "too many certificates for this node").with("Retry-After", "\(wait)"))
        }
        do throws(TLSError) {
            let certificate = try authorities.signing.nodeCertificate(
                node: node, key: key, days: rules.edgeDays, now: now, after: rules.revocations.bound(for: node))
            let used = token.flatMap { token in
                token.id.map { IssuedRecord.SpentToken(id: $0, expiry: token.until + rules.tokenLeeway) }
            }
            // Of two requests that came with the same token, the second one ends here.
            if let used, !spent.spend(used.id, expiry: used.expiry, now: now) {
                notify(Notice(.warning, "token_refused", ["remote": remote, "node": node, "reason": "the token has been used"]))
                return .now(unauthorized("the token has been used"))
            }
            let record = IssuedRecord(
                time: now, node: node, serial: certificate.serial, sha256: Digest.hex(try certificate.sha256),
                notAfter: certificate.notAfter ?? 0, remote: remote, credential: credential, notBefore: certificate.notBefore,
                issuer: authorities.hash, token: used)
            return .afterRecord(.certificate(certificate.der), record)
        } catch {
            notify(Notice(.error, "signing_failed", ["node": node, "reason": error.description]))
            return .now(CertsResponse(500, "the certificate cannot be made"))
        }
    }

    private func refuse(_ refusal: EnrollmentPolicy.Refusal, _ node: String, _ remote: String) -> CertsResponse {
        counters.add(.refusedCertificates)
        notify(
            Notice(.warning, "request_refused", ["node": String(node.prefix(253)), "remote": remote, "reason": refusal.text]))
        return CertsResponse(refusal.status, refusal.text)
    }

    private func report(_ node: String, _ make: () throws(TaskReport.Refusal) -> TaskReport) -> Answer {
        do throws(TaskReport.Refusal) {
            let line = try make().line(id: MessageID.random(), time: wallMicroseconds() / 1000)
            return .afterLine(CertsResponse(200, "ok"), line)
        } catch {
            switch error {
            case .malformed: return .now(CertsResponse(400, "the body is not a report"))
            case .otherNode: return .now(forbidden("the report is about another node than the certificate"))
            }
        }
    }

    // MARK: What became of it

    /// The record is on the disk, and the certificate is on its way.
    package func recorded(_ record: IssuedRecord) {
        counters.add(record.credential == .token ? .issued : .renewed)
        notify(
            Notice(
                .info, "issued",
                ["node": record.node, "serial": record.serial, "by": record.credential.rawValue, "remote": record.remote]))
    }

    /// The record could not be written, so the certificate does not leave.
    package func unrecorded(_ record: IssuedRecord) {
        counters.add(.failedWrites)
        if let token = record.token { spent.release(token.id) }
    }
}
