// hub-certs rotate-ca: one authority after another, also when a step was interrupted.

internal import HubCerts
internal import HubMessage
internal import HubPipe
internal import HubTLS
internal import HubTrust
internal import Testing

@Suite struct RotationTests {
    private let directory = TemporaryDirectory()
    private var store: CertificateStore { CertificateStore(directory: "\(directory.path)/d") }
    private let now = wallMicroseconds() / 1_000_000

    init() throws {
        var settings = PrepareSettings()
        settings.names = [.dns("hub.example")]
        _ = try store.prepare(settings, now: now)
    }

    private func begin() throws { try store.beginRotation(isForced: false, now: now) }

    private func switchOver() throws { try store.switchAuthority(PrepareSettings(), now: now) }

    private func finish(force: Bool = false, dropCross: Bool = false) throws -> Int {
        try store.finishRotation(isForced: force, dropsCross: dropCross, PrepareSettings(), now: now)
    }

    private func trusted() throws -> [Certificate] { try Certificate.readAll(pem: directory.read("rootCA.crt")) }

    private func chain() throws -> [Certificate] { try Certificate.readAll(pem: directory.read("server.crt")) }

    private func issue(_ node: String, by authority: Authority, days: Int64 = 10, issuer: Bool = true, at time: Int64? = nil) throws {
        let certificate = try authority.nodeCertificate(node: node, key: try PrivateKey.generate().publicKey, days: days, now: now)
        let record = IssuedRecord(
            time: time ?? now, node: node, serial: certificate.serial, sha256: "", notAfter: certificate.notAfter ?? 0, remote: "",
            credential: .token, issuer: issuer ? Digest.hex(try authority.certificate.sha256) : nil)
        try IssuedLog(store).append(record.line)
    }

    private func code(_ body: () throws -> Void) -> CertsError.Code? {
        do {
            try body()
            return nil
        } catch {
            return (error as? CertsError)?.code
        }
    }

    @Test("begin trusts both and lets the old one sign; switch lets the new one sign; finish trusts it alone")
    func sequence() throws {
        let old = try store.authority().certificate
        let token = try directory.read("token")
        let server = try directory.read("server.crt")
        try begin()
        #expect(try trusted().count == 2)
        #expect(try store.authority().certificate.der == old.der)
        #expect(try store.authorities().others.count == 1)
        #expect(try store.rotationStatus(now: now).rows.map(\.role) == ["signing", "next"])
        #expect(try directory.read("server.crt") == server)
        #expect(try directory.read("token") == token)

        try switchOver()
        let new = try store.authority().certificate
        #expect(try trusted().map(\.der) == [new.der, old.der])
        #expect(new.subjectName != old.subjectName)
        #expect(try store.rotationStatus(now: now).rows.map(\.role) == ["signing", "old"])
        #expect(directory.mode("rootCA.key") == 0o600 && directory.mode("rootCA-old.key") == 0o600)
        #expect(!directory.exists("rootCA-next.key"))
        let parts = try chain()
        #expect(parts.count == 2)
        try parts[0].verify(issuedBy: new, purpose: .server)
        try parts[0].verify(issuedBy: parts[1], purpose: .server)
        try parts[1].verify(issuedBy: old, purpose: .any)
        #expect(parts[0].names == [.dns("hub.example")])
        #expect(try directory.read("token") != token)
        // The bearer part of a token from before still lets in, the new one does as well.
        let service = CertsService(
            authorities: try store.authorities(), nodes: IssuedNodes(capacity: 9, perMinute: 9),
            failures: FailureLimiter(limit: 9, capacity: 9), rules: EnrollmentRules(), counters: CertsCounters(), notify: { _ in })
        for text in [token, try directory.read("token")] {
            let bearer = String(decoding: text, as: UTF8.self).split(separator: ".").dropFirst().joined(separator: ".").dropLast()
            let request = CertsRequest(method: "GET", target: "/edge.crt", nodeNames: ["a"], authorizations: ["Bearer \(bearer)"])
            #expect(service.begin(request, now: now) == .proceed(.enroll(node: "a", .token, remote: "")))
        }

        #expect(try finish() == 0)
        #expect(try trusted().map(\.der) == [new.der])
        #expect(!directory.exists("rootCA-old.key"))
        #expect(try chain().map(\.der) == parts.map(\.der))
        #expect(try store.prepare(PrepareSettings(), now: now) == [])
    }

    @Test("a second rotation links the first authority to the third; --drop-cross ends that")
    func twice() throws {
        let first = try store.authority().certificate
        for _ in 0..<2 {
            try begin()
            try switchOver()
            _ = try finish()
        }
        let parts = try chain()
        #expect(parts.count == 3)
        try parts[1].verify(issuedBy: parts[2], purpose: .any)
        try parts[2].verify(issuedBy: first, purpose: .any)
        try begin()
        try switchOver()
        #expect(try finish(dropCross: true) == 0)
        #expect(try chain().count == 1)
        #expect(!directory.exists("rootCA-cross.crt"))
        #expect(try store.prepare(PrepareSettings(), now: now) == [])
    }

    @Test("a new server certificate comes with the same chain")
    func chainStays() throws {
        try begin()
        try switchOver()
        let before = try chain()
        var settings = PrepareSettings()
        settings.names = [.dns("other.example")]
        #expect(try store.prepare(settings, now: now).map(\.reason) == ["names changed"])
        #expect(try chain().dropFirst().map(\.der) == before.dropFirst().map(\.der))
        // Somebody took the link out of the file.
        try directory.write(try chain()[0].pem, to: "server.crt")
        #expect(try store.prepare(PrepareSettings(), now: now).map(\.reason) == ["chain changed"])
        #expect(try chain().count == 2)
    }

    @Test("steps out of turn are refused and change nothing")
    func order() throws {
        func refused(_ body: () throws -> Void) throws {
            let before = try directory.read("rootCA.crt")
            #expect(code(body) == .refused)
            #expect(try directory.read("rootCA.crt") == before)
        }
        try refused { try switchOver() }
        try refused { _ = try finish() }
        try refused { try store.abortRotation() }
        try begin()
        try refused { try begin() }
        try refused { _ = try finish() }
        try store.abortRotation()
        #expect(try trusted().count == 1)
        #expect(!directory.exists("rootCA-next.key"))
        try begin()
        try switchOver()
        try refused { try begin() }
        try refused { try switchOver() }
        try refused { try store.abortRotation() }
    }

    @Test("the old one is not dropped while nodes hold good certificates of it")
    func holders() throws {
        let old = try store.authority()
        try issue("a", by: old)
        try issue("b", by: old, issuer: false)
        try issue("c", by: old)
        try issue("e", by: old, issuer: false, at: now - 1_000_000)
        try begin()
        try switchOver()
        let new = try store.authority()
        try issue("c", by: new)
        try issue("d", by: new)
        let status = try store.rotationStatus(now: now)
        #expect(status.rows.map(\.nodes) == [2, 2])
        #expect(status.left.map(\.node) == ["a", "b"])
        #expect(code { _ = try finish() } == .refused)
        // Revoked and expired ones do not count.
        try store.changeRevocations { $0.add(RevocationList.Entry(node: "a", until: now + 1)) }
        #expect(try store.rotationStatus(now: now).left.map(\.node) == ["b"])
        #expect(try store.rotationStatus(now: now + 11 * 86_400).left.isEmpty)
        #expect(code { _ = try finish() } == .refused)
        #expect(try finish(force: true) == 1)
        #expect(try store.rotationStatus(now: now).rows.map(\.nodes) == [3])
    }

    @Test("a directory in which a step was interrupted is usable, and the step can be run again")
    func interrupted() throws {
        let old = try store.authority().certificate
        // begin, after the key: the next run goes on from it.
        let key = try PrivateKey.generate()
        try directory.write(try key.pem, to: "rootCA-next.key")
        #expect(try store.prepare(PrepareSettings(), now: now) == [])
        try begin()
        #expect(try trusted()[1].belongs(to: key))

        // switch, after the server certificate: it verifies under both, and prepare would make another one.
        let kept = try ["rootCA.crt", "rootCA.key", "rootCA-next.key", "server.crt", "token"].map { ($0, try directory.read($0)) }
        try switchOver()
        let server = try directory.read("server.crt")
        let new = try directory.read("rootCA.crt")
        for (name, content) in kept { try directory.write(content, to: name) }
        directory.remove("rootCA-old.key")
        try directory.write(server, to: "server.crt")
        _ = try ServedFiles(store, admitsExpired: false)
        #expect(try store.authority().certificate.der == old.der)

        // switch, after rootCA.crt, before the keys.
        try directory.write(new, to: "rootCA.crt")
        #expect(try store.authority().certificate.belongs(to: key))
        #expect(try store.authorities().others.map(\.der) == [old.der])
        _ = try ServedFiles(store, admitsExpired: false)
        // And between the two renames of the keys.
        try directory.write(try directory.read("rootCA.key"), to: "rootCA-old.key")
        #expect(try store.authority().certificate.belongs(to: key))
        #expect(try store.prepare(PrepareSettings(), now: now).map(\.file) == [.token])
        #expect(!directory.exists("rootCA-next.key"))
        #expect(try PrivateKey.read(pem: directory.read("rootCA.key")).publicKey == key.publicKey)
        #expect(try old.belongs(to: PrivateKey.read(pem: directory.read("rootCA-old.key"))))
        #expect(try store.authorities().others.map(\.der) == [old.der])

        // finish, after rootCA.crt: the old key goes with the next run.
        try directory.write(try store.authority().certificate.pem, to: "rootCA.crt")
        _ = try store.prepare(PrepareSettings(), now: now)
        #expect(!directory.exists("rootCA-old.key"))
    }
}
