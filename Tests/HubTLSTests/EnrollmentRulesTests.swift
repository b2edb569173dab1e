// Who may enrol: revoked, expired and banned nodes, tokens for one node and for one use. Without a socket, under an invented clock.

internal import HubCerts
internal import HubMessage
internal import HubPipe
internal import HubTLS
internal import HubTrust
internal import Testing

@Suite struct EnrollmentRulesTests {
    private static let now: Int64 = 1_800_000_000
    private let service: CertsService
    private let tokens: JoinTokens

    init() throws {
        let authority = try Authority.make(key: try PrivateKey.generate(), now: Self.now)
        tokens = authority.tokens
        service = CertsService(
            authorities: try AuthoritySet(signing: authority), nodes: IssuedNodes(capacity: 9, perMinute: 99),
            failures: FailureLimiter(limit: 99, capacity: 9), rules: EnrollmentRules(), counters: CertsCounters(), notify: { _ in })
    }

    private func token(_ node: String? = nil, id: String? = nil, expiry: Int64 = now + 100) throws -> String {
        try "Bearer " + tokens.make(expiry: expiry, node: node, id: id).split(separator: ".").dropFirst().joined(separator: ".")
    }

    /// 0 when the request may send its body.
    private func status(
        _ target: String = "/edge.crt", node: String = "a", by request: (inout CertsRequest) -> Void
    ) -> Int {
        var asked = CertsRequest(method: "GET", target: target, nodeNames: [node])
        request(&asked)
        if case .answer(let response) = service.begin(asked, now: Self.now) { return response.status }
        return 0
    }

    private func facts(from begin: Int64 = -1000, to end: Int64 = 1000) -> CertificateFacts {
        CertificateFacts(serial: "0a", notBefore: Self.now + begin, notAfter: Self.now + end)
    }

    @Test(
        "an expired certificate renews itself within the grace, and does nothing else",
        arguments: [(0, 0, 0, 404), (-1, 0, 403, 403), (-60, 60, 0, 403), (-61, 60, 403, 403)])
    func expiry(end: Int64, grace: Int64, enrolment: Int, lookUp: Int) {
        service.rules.renewalGrace = grace
        let facts = facts(to: end)
        func show(_ request: inout CertsRequest) {
            request.identity = .node("a")
            request.facts = facts
        }
        #expect(status(by: show) == enrolment)
        #expect(status("/node/b", by: show) == lookUp)
    }

    @Test("what a node had when it was revoked is refused; what it gets afterwards begins later")
    func revocation() throws {
        service.rules.revocations.add(RevocationList.Entry(node: "a", until: Self.now))
        for (begin, expected) in [(Int64(-1000), 403), (0, 403), (1, 0)] {
            let facts = facts(from: begin)
            #expect(
                status { request in
                    request.identity = .node("a")
                    request.facts = facts
                } == expected)
        }
        // The CA is for everybody, also with such a certificate.
        let gone = facts()
        #expect(
            status("/ca.crt") { request in
                request.identity = .node("a")
                request.facts = gone
            } == 200)
        let request = try CertificateRequest.make(subject: .node("a"), key: try PrivateKey.generate())
        guard
            case .afterRecord(let response, let record) = service.finish(
                .enroll(node: "a", .token, remote: ""), body: request, now: Self.now)
        else {
            Issue.record("not signed")
            return
        }
        let certificate = try Certificate.read(der: response.body)
        #expect(certificate.notBefore == Self.now + 1 && record.notBefore == Self.now + 1)
    }

    @Test("a token of another node, a shared one where none is taken, and any token of a banned node are refused")
    func tokensOfNodes() throws {
        let (shared, bound) = (try token(), try token("a"))
        func ask(_ token: String, _ node: String) -> Int { status(node: node) { $0.authorizations = [token] } }
        #expect([ask(shared, "a"), ask(bound, "a"), ask(bound, "b")] == [0, 0, 401])
        service.rules.takesSharedTokens = false
        #expect([ask(shared, "a"), ask(bound, "a"), ask(bound, "b")] == [401, 0, 401])
        service.rules.revocations.add(RevocationList.Entry(node: "a", until: 0, isBanned: true))
        #expect(ask(bound, "a") == 403)
    }

    @Test("a token with an id is good once; it is not spent when the record fails, and it is forgotten when it has expired")
    func oneUse() throws {
        let token = try token("a", id: "x")
        let request = try CertificateRequest.make(subject: .node("a"), key: try PrivateKey.generate())
        func begin() -> CertsService.Admission {
            service.begin(CertsRequest(method: "GET", target: "/edge.crt", nodeNames: ["a"], authorizations: [token]), now: Self.now)
        }
        guard case .proceed(let first) = begin(), case .proceed(let second) = begin() else {
            Issue.record("refused")
            return
        }
        guard case .afterRecord(_, let record) = service.finish(first, body: request, now: Self.now) else {
            Issue.record("not signed")
            return
        }
        #expect(record.token == IssuedRecord.SpentToken(id: "x", expiry: Self.now + 100))
        #expect(IssuedRecord(record.line.dropLast()) == record)
        guard case .now(let refusal) = service.finish(second, body: request, now: Self.now), case .answer(let again) = begin() else {
            Issue.record("signed twice")
            return
        }
        #expect([refusal.status, again.status] == [401, 401])
        service.unrecorded(record)
        guard case .proceed = begin() else {
            Issue.record("spent for nothing")
            return
        }
    }

    @Test("the table of spent tokens holds those that could still be used")
    func bound() {
        var spent = SpentTokens()
        for number in 0..<1000 {
            let isNew = spent.spend("\(number)", expiry: Int64(number) + 10, now: Int64(number))
            #expect(isNew)
        }
        #expect(spent.count <= 128)
        let isNew = spent.spend("999", expiry: 2000, now: 1000)
        #expect(!isNew && spent.contains("999"))
    }

    @Test(
        "times are read as they are written, and nothing else is",
        arguments: ["1970-01-01T00:00:00Z", "2026-02-28T23:59:59Z", "2400-02-29T12:00:00Z"])
    func time(text: String) throws {
        #expect(Timestamp.rfc3339(try #require(Timestamp.parse(text))) == text)
        for wrong in [
            "", String(text.dropLast()), text + "Z", text.replacing("-0", with: "-9"), text.replacing("T", with: " "),
            "2026-02-30T00:00:00Z",
        ] {
            #expect(Timestamp.parse(wrong) == nil)
        }
    }
}
