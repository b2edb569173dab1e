// The routes of hub-certs without a socket: who may do what, and what each answer waits for.

internal import HubCerts
internal import HubMessage
internal import HubTLS
internal import Testing

@Suite struct CertificateServiceTests {
    private static let now: Int64 = 1_800_000_000
    private let service: CertsService
    private let bearer: String
    private let counters = CertsCounters()

    init() throws {
        let authority = try Authority.make(key: try PrivateKey.generate(), now: Self.now)
        service = CertsService(
            authorities: try AuthoritySet(signing: authority), nodes: IssuedNodes(capacity: 3, perMinute: 2),
            failures: FailureLimiter(limit: 2, capacity: 2), rules: EnrollmentRules(), counters: counters, notify: { _ in })
        let token = try authority.tokens.make(expiry: Self.now + 100)
        bearer = "Bearer " + token.split(separator: ".").dropFirst().joined(separator: ".")
    }

    private func begin(
        _ target: String, method: String = "GET", node: String? = nil, authorization: String? = nil, _ identity: ClientIdentity = .none,
        remote: String = "192.0.2.1"
    ) -> CertsService.Admission {
        service.begin(
            CertsRequest(
                method: method, target: target, nodeNames: node.map { [$0] } ?? [], authorizations: authorization.map { [$0] } ?? [],
                identity: identity, remote: remote), now: Self.now)
    }

    private func status(_ admission: CertsService.Admission) -> Int? {
        if case .answer(let response) = admission { response.status } else { nil }
    }

    private func request(_ node: String) throws -> [UInt8] {
        try CertificateRequest.make(subject: .node(node), key: try PrivateKey.generate())
    }

    @Test("the CA is for everybody, in DER")
    func authority() {
        #expect(
            begin("/ca.crt")
                == .answer(CertsResponse(200, type: "application/pkix-cert", body: service.authorities.signing.certificate.der)))
        #expect(begin("/ca.crt?x=1") == begin("/ca.crt"))
    }

    @Test("unknown paths are 404, wrong methods 405")
    func routes() {
        for path in [
            "/", "/x", "/ca.crt/", "/edge.crt/x", "/node/", "//ca.crt", "/task/a/name/b/node/c", "/task/a/name/b%2f/node/c/status",
            "ca.crt",
        ] {
            #expect(status(begin(path)) == 404, "\(path)")
        }
        #expect(status(begin("/edge.crt", method: "POST")) == 405)
        #expect(status(begin("/ca.crt", method: "HEAD")) == 405)
        #expect(status(begin("/nodeupgrade")) == 405)
        #expect(status(begin("/task/a/name/b/node/c/status")) == 405)
    }

    @Test("a certificate needs the token, or the certificate of the same node")
    func credentials() {
        let byToken = CertsService.Task.enroll(node: "a", .token, remote: "192.0.2.1")
        let byCertificate = CertsService.Task.enroll(node: "a", .certificate, remote: "192.0.2.1")
        #expect(begin("/edge.crt", node: "a", authorization: bearer) == .proceed(byToken))
        #expect(begin("/edge.crt", node: "a", .node("a")) == .proceed(byCertificate))
        #expect(status(begin("/edge.crt", node: "a")) == 401)
        #expect(status(begin("/edge.crt", node: "a", .node("b"))) == 401)
        #expect(status(begin("/edge.crt", node: "a", .other)) == 401)
        #expect(begin("/edge.crt", node: "a", authorization: bearer, .other) == .proceed(byToken))
    }

    @Test("the header NodeName must hold a node's name, once; a node without name has no certificate")
    func nodeName() {
        #expect(status(begin("/edge.crt", authorization: bearer)) == 400)
        #expect(status(begin("/edge.crt", node: "A", authorization: bearer)) == 400)
        #expect(status(begin("/edge.crt", node: "", .node(""))) == 400)
        let twice = CertsRequest(method: "GET", target: "/edge.crt", nodeNames: ["a", "b"], authorizations: [bearer])
        #expect(status(service.begin(twice, now: Self.now)) == 400)
        let tokens = CertsRequest(method: "GET", target: "/edge.crt", nodeNames: ["a"], authorizations: [bearer, bearer])
        #expect(status(service.begin(tokens, now: Self.now)) == 400)
    }

    @Test("wrong tokens are answered 401, then 429 with Retry-After; a good one still passes, and other addresses are not concerned")
    func rateLimit() {
        for _ in 0..<2 { #expect(status(begin("/edge.crt", node: "a", authorization: "Bearer x.y.z")) == 401) }
        guard case .answer(let response) = begin("/edge.crt", node: "a", authorization: "Bearer x.y.z") else {
            Issue.record("let in")
            return
        }
        #expect(response.status == 429)
        #expect(response.header("Retry-After") == "60")
        #expect(status(begin("/edge.crt", node: "a", authorization: "Bearer x.y.z", remote: "192.0.2.2")) == 401)
        #expect(status(begin("/edge.crt", node: "a", authorization: bearer)) == nil)
    }

    @Test("a missing credential is no failed token")
    func missing() {
        for _ in 0..<10 { #expect(status(begin("/edge.crt", node: "a")) == 401) }
        for form in ["Basic abc", "Bearer", "Bearer a b"] {
            #expect(status(begin("/edge.crt", node: "a", authorization: form, remote: form)) == 401)
        }
    }

    @Test("a signed certificate leaves after its record, and the node is known then")
    func issue() throws {
        let body = try request("a")
        let answer = service.finish(.enroll(node: "a", .token, remote: "192.0.2.1"), body: body, now: Self.now)
        guard case .afterRecord(let response, let record) = answer else {
            Issue.record("\(answer)")
            return
        }
        let certificate = try Certificate.read(der: response.body)
        try certificate.verify(issuedBy: service.authorities.signing.certificate, purpose: .client, at: Self.now)
        #expect(record.node == "a")
        #expect(record.serial == certificate.serial)
        #expect(record.sha256 == Digest.hex(try certificate.sha256))
        let line = try #require(FlatJSON(record.line))
        #expect(line["by"] == .string("token"))
        #expect(line["time"] == .string("2027-01-15T08:00:00Z"))
        #expect(status(begin("/node/a", authorization: bearer)) == 200)
        #expect(status(begin("/node/a", .node("b"))) == 200)
        #expect(status(begin("/node/b", authorization: bearer)) == 404)
    }

    @Test("who has no credential learns of no node; keadm takes 404 for a node that may join")
    func anonymousLookUp() throws {
        _ = service.finish(.enroll(node: "a", .token, remote: ""), body: try request("a"), now: Self.now)
        #expect(status(begin("/node/a")) == 404)
        #expect(status(begin("/node/a", .other)) == 404)
        #expect(status(begin("/node/a", authorization: "Bearer x")) == 401)
    }

    @Test("a request for another node than the header's is refused, whatever the credential")
    func otherNode() throws {
        for credential in [IssuedRecord.Credential.token, .certificate] {
            let answer = service.finish(.enroll(node: "a", credential, remote: ""), body: try request("b"), now: Self.now)
            guard case .now(let response) = answer else {
                Issue.record("signed")
                return
            }
            #expect(response.status == 403)
        }
        #expect(counters[.refusedCertificates] == 2)
    }

    @Test("one node gets so many certificates a minute, and so many nodes get one at all")
    func bounds() throws {
        func ask(_ node: String, at time: Int64) throws -> Int {
            switch service.finish(.enroll(node: node, .token, remote: ""), body: try request(node), now: time) {
            case .now(let response): response.status
            case .afterRecord(let response, _), .afterLine(let response, _): response.status
            }
        }
        #expect(try ask("a", at: Self.now) == 200)
        #expect(try ask("a", at: Self.now) == 200)
        #expect(try ask("a", at: Self.now + 59) == 429)
        #expect(try ask("a", at: Self.now + 60) == 200)
        #expect(try ask("b", at: Self.now) == 200)
        #expect(try ask("c", at: Self.now) == 200)
        #expect(try ask("d", at: Self.now) == 503)
        #expect(try ask("b", at: Self.now) == 200)
    }

    @Test("a report needs the certificate of its node")
    func reports() {
        let target = "/task/upgrade/name/t1/node/a/status"
        #expect(status(begin(target, method: "POST")) == 401)
        #expect(status(begin(target, method: "POST", authorization: bearer)) == 401)
        #expect(status(begin(target, method: "POST", .other)) == 401)
        #expect(status(begin(target, method: "POST", .node("b"))) == 403)
        #expect(begin(target, method: "POST", .node("a")) == .proceed(.status(node: "a", type: "upgrade", task: "t1")))
        #expect(status(begin("/nodeupgrade", method: "POST")) == 401)
        #expect(begin("/nodeupgrade", method: "POST", .node("a")) == .proceed(.upgrade(node: "a")))
    }

    @Test("a report becomes one line for taskmanager; text of the node stays inside its value")
    func reportLine() throws {
        let body = #"{ "NodeName":"a",\#n"Event":"Check","Action":"Success","Reason":"a\"b\nc","reason2":"x" }"#
        let report = try TaskReport(status: Array(body.utf8), node: "a", type: "upgrade", task: "t1")
        let expected =
            #"{"header":{"msg_id":"i","timestamp":5},"route":{"source":"cloudhub","destination":"taskmanager","group":"cloudhub","#
            + #""operation":"upgrade","resource":"task/t1/node/a"},"content":{"NodeName":"a","State":"","Event":"Check","#
            + #""Action":"Success","Reason":"a\"b\u000ac","Time":"","ExternalMessage":""}}"# + "\n"
        #expect(String(decoding: report.line(id: "i", time: 5), as: UTF8.self) == expected)
    }

    @Test(
        "a report that is none, or speaks for another node, is refused",
        arguments: [
            (#"{"NodeName":"b"}"#, 403), (#"{"nodename":"b"}"#, 403), (#"{"NodeName":"a","nodename":"b"}"#, 400), ("", 400), ("[]", 400),
            (#"{"NodeName":"a"}{}"#, 400), (#"{"State":1}"#, 400), (#"{"State":{}}"#, 400), ("{\"State\":\"\u{1}\"}", 400),
        ])
    func badReports(body: String, expected: Int) {
        let answer = service.finish(.status(node: "a", type: "t", task: "x"), body: Array(body.utf8), now: Self.now)
        guard case .now(let response) = answer else {
            Issue.record("taken: \(body)")
            return
        }
        #expect(response.status == expected)
    }

    @Test("an old upgrade report names task and node, and its outcome becomes KubeEdge's event and action")
    func upgradeReport() throws {
        func line(_ status: String) throws -> String {
            let body = #"{"UpgradeID":"u1","HistoryID":"h","NodeName":"a","Status":"\#(status)","Reason":"r"}"#
            return String(decoding: try TaskReport(upgrade: Array(body.utf8), node: "a").line(id: "i", time: 5), as: UTF8.self)
        }
        #expect(try line("upgrade_success").contains(#""Event":"Upgrade","Action":"Success","Reason":"r""#))
        #expect(try line("upgrade_failed_rollback_success").contains(#""Event":"Rollback","Action":"Failure""#))
        #expect(try line("upgrade_success").contains(#""operation":"upgrade","resource":"task/u1/node/a""#))
        #expect(throws: TaskReport.Refusal.otherNode) {
            try TaskReport(upgrade: Array(#"{"UpgradeID":"u","NodeName":"b"}"#.utf8), node: "a")
        }
        #expect(throws: TaskReport.Refusal.malformed) {
            try TaskReport(upgrade: Array(#"{"UpgradeID":"a/b","NodeName":"a"}"#.utf8), node: "a")
        }
    }

    @Test("the table of failures is bounded; past it all addresses share one count, and old windows make room")
    func limiterTable() {
        var limiter = FailureLimiter(limit: 1, capacity: 2)
        #expect(limiter.failed("192.0.2.1", now: 0) == nil)
        #expect(limiter.failed("192.0.2.2", now: 0) == nil)
        #expect(limiter.failed("192.0.2.3", now: 0) == nil)
        #expect(limiter.failed("192.0.2.4", now: 1) == 59)
        #expect(limiter.count == 3)
        #expect(limiter.failed("192.0.2.4", now: 70) == nil)
        #expect(limiter.count == 1)
        // One host owns a /64; a mapped IPv4 address is that IPv4 address.
        #expect(limiter.failed("2001:db8::1", now: 140) == nil)
        #expect(limiter.failed("2001:db8::2", now: 140) == 60)
        #expect(limiter.failed("::ffff:192.0.2.9", now: 210) == nil)
        #expect(limiter.failed("192.0.2.9", now: 210) == 60)
        // The clock is put back.
        #expect(limiter.failed("192.0.2.9", now: 100) == nil)
    }
}
