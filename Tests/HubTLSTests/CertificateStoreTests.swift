// hub-certs prepare: what is missing is made, what is there stays.

internal import HubCerts
internal import HubPipe
internal import HubTLS
internal import Testing

@Suite struct CertificateStoreTests {
    private let directory = TemporaryDirectory()
    private var store: CertificateStore { CertificateStore(directory: "\(directory.path)/d") }
    private let now = wallMicroseconds() / 1_000_000

    private func prepare(_ names: Set<SubjectName> = [], at offset: Int64 = 0) throws -> [String] {
        var settings = PrepareSettings()
        settings.names = names
        return try store.prepare(settings, now: now + offset).map { "\($0.file.rawValue): \($0.reason)" }
    }

    @Test("an empty place gets everything, secrets with mode 0600, and a second run changes nothing")
    func fresh() throws {
        let names: Set<SubjectName> = [.dns("hub.example.com"), .address([192, 0, 2, 7])]
        #expect(
            try prepare(names) == [
                "rootCA.key: missing", "rootCA.crt: missing", "server.key: missing", "server.crt: missing", "token: missing",
            ])
        #expect(["rootCA.key", "server.key", "token"].map(directory.mode) == [0o600, 0o600, 0o600])
        #expect(directory.mode("") == 0o700)
        #expect(try Certificate.read(pem: directory.read("server.crt")).names == names)
        #expect(try prepare(names) == [])
        #expect(try prepare() == [])
        _ = try store.serverContext()
    }

    @Test("other names bring another server certificate under the same CA and key")
    func names() throws {
        _ = try prepare([.dns("a")])
        let authority = try directory.read("rootCA.crt")
        let key = try directory.read("server.key")
        #expect(try prepare([.dns("b"), .dns("a")]) == ["server.crt: names changed"])
        #expect(try prepare([.dns("b")]) == ["server.crt: names changed"])
        #expect(try Certificate.read(pem: directory.read("server.crt")).names == [.dns("b")])
        #expect(try directory.read("rootCA.crt") == authority)
        #expect(try directory.read("server.key") == key)
    }

    @Test("a server certificate near its end, of another CA, or without its key is made anew")
    func reissue() throws {
        _ = try prepare([.dns("a")])
        try directory.write(try PrivateKey.generate().pem, to: "server.key")
        #expect(try prepare([.dns("a")]) == ["server.crt: its key is another"])
        let other = try Authority.make(key: try PrivateKey.generate(), now: now)
        let key = try PrivateKey.generate()
        try directory.write(try key.pem, to: "server.key")
        try directory.write(try other.serverCertificate(names: [.dns("a")], key: key.publicKey, days: 300, now: now).pem, to: "server.crt")
        #expect(try prepare() == ["server.crt: not valid under this CA"])
        #expect(try Certificate.read(pem: directory.read("server.crt")).names == [.dns("a")])
        #expect(try prepare([.dns("a")], at: 3640 * 86_400).contains("server.crt: near its end"))
    }

    @Test("a certificate that somebody else made may have more names than asked for")
    func takenOver() throws {
        _ = try prepare([.dns("a")])
        let caKey = try PrivateKey.read(pem: directory.read("rootCA.key"))
        let authority = try store.authority()
        let key = try PrivateKey.read(pem: directory.read("server.key"))
        let foreign = try CertificateTemplate(
            .server, subject: [NameAttribute(.commonName, "KubeEdge")], names: [.dns("a"), .dns("b")], notBefore: now - 10,
            notAfter: now + 1_000_000_000
        ).signed(for: key.publicKey, by: authority.certificate, caKey)
        try directory.write(try foreign.pem, to: "server.crt")
        #expect(try prepare([.dns("a")]) == [])
        #expect(try prepare([.dns("c")]) == ["server.crt: names changed"])
    }

    @Test("a CA key alone gets its certificate; a CA certificate alone, or with another key, is an error")
    func halfAuthority() throws {
        _ = try prepare()
        let key = try directory.read("rootCA.key")
        directory.remove("rootCA.crt")
        #expect(try prepare() == ["rootCA.crt: missing", "token: not of this CA"])
        #expect(try directory.read("rootCA.key") == key)
        directory.remove("rootCA.key")
        #expect(throws: CertsError.self) { try prepare() }
        try directory.write(try PrivateKey.generate().pem, to: "rootCA.key")
        #expect(throws: CertsError.self) { try prepare() }
        #expect(try directory.read("rootCA.crt").isEmpty == false)
    }

    @Test("the token is renewed after half of its life, or when it is another CA's")
    func token() throws {
        _ = try prepare()
        let authority = try store.authority()
        let first = try directory.read("token")
        let young = try store.renewToken(authority, refresh: 43_200, now: now + 43_100)
        #expect(young.reason == nil)
        #expect(young.renewAt == now + 43_200)
        #expect(try directory.read("token") == first)
        let old = try store.renewToken(authority, refresh: 43_200, now: now + 43_200)
        #expect(old.reason == "due")
        #expect(old.renewAt == now + 86_400)
        #expect(try directory.read("token") != first)
        #expect(try store.renewToken(authority, refresh: 43_200, now: now + 1_000_000).reason == "expired")
        #expect(try store.renewToken(authority, refresh: 100, now: now + 1_000_000).reason == "lives too long")
        try directory.write(Array("junk".utf8), to: "token")
        #expect(try store.renewToken(authority, refresh: 100, now: now).reason == "not of this CA")
    }

    @Test("a missing CA names the command that makes it")
    func missing() throws {
        #expect {
            try store.authority()
        } throws: { error in
            (error as? CertsError)?.code == .missing && (error as? CertsError)?.detail.contains("hub-certs prepare") == true
        }
    }

    @Test("records are read back by node; a torn last line is skipped and closed")
    func records() throws {
        _ = try prepare()
        let log = IssuedLog(store)
        func nodes() throws -> [String] {
            var found: [String] = []
            try log.forEachRecord { found.append($0.node) }
            return found
        }
        #expect(try nodes() == [])
        func record(_ node: String) -> [UInt8] {
            IssuedRecord(time: now, node: node, serial: "1", sha256: "2", notAfter: now, remote: "r", credential: .token).line
        }
        try log.append(record("a") + record("b").dropLast(5))
        #expect(try nodes() == ["a"])
        // Who only reads does not end a line: it may be one that is being written.
        #expect(try directory.read("issued.jsonl").last != 0x0a)
        try log.endLastLine()
        try log.endLastLine()
        try log.append(record("c"))
        #expect(try nodes() == ["a", "c"])
        try log.append(Array("half".utf8))
        try log.append(record("d"), mayBeTorn: true)
        try log.append(record("e"), mayBeTorn: true)
        #expect(try nodes() == ["a", "c", "d", "e"])
        #expect(try directory.read("issued.jsonl").split(separator: 0x0a, omittingEmptySubsequences: false).filter(\.isEmpty).count == 1)
        #expect(directory.mode("issued.jsonl") == 0o600)
    }
}
