// Keys, certificates and requests: what is made can be read again, and what is damaged is refused.

internal import HubTLS
internal import Testing

@Suite struct CertificateTests {
    private static let now: Int64 = 1_800_000_000

    private static func authority(_ key: PrivateKey) throws -> Certificate {
        try CertificateTemplate(
            .authority, subject: [NameAttribute(.commonName, "test CA")], notBefore: 1_700_000_000, notAfter: 4_900_000_000
        ).selfSigned(key)
    }

    @Test("a made key is SEC 1 in PEM and survives being read")
    func keyForm() throws {
        let key = try PrivateKey.generate()
        #expect(key.block.label == "EC PRIVATE KEY")
        #expect(key.kind == .curve("prime256v1"))
        let text = try key.pem
        #expect(String(decoding: text, as: UTF8.self).hasPrefix("-----BEGIN EC PRIVATE KEY-----\n"))
        let again = try PrivateKey.read(pem: text)
        #expect(unsafe again.block.der.withBytes { unsafe Array($0) } == key.block.der.withBytes { unsafe Array($0) })
    }

    @Test("a PKCS #8 key keeps its own bytes, and an encrypted one is refused")
    func otherKeyForms() throws {
        let key = try PrivateKey.read(pem: Array(Samples.pkcs8.utf8))
        #expect(key.block.label == "PRIVATE KEY")
        #expect(key.kind == .curve("prime256v1"))
        #expect(throws: TLSError(.privateKey, "the private key is encrypted")) {
            try PrivateKey.read(pem: Array(Samples.encrypted.utf8))
        }
        #expect(throws: TLSError.self) { try PrivateKey.read(pem: Array("nothing".utf8)) }
    }

    @Test("blocks before the key, such as curve parameters, are skipped")
    func parametersFirst() throws {
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        let key = try PrivateKey.generate()
        let read = try PrivateKey.read(pem: Array(parameters.utf8) + key.pem)
        #expect(read.block.label == "EC PRIVATE KEY")
    }

    @Test("a certificate says what its template said, and belongs to its key")
    func certificateContent() throws {
        let caKey = try PrivateKey.generate()
        let ca = try Self.authority(caKey)
        let key = try PrivateKey.generate()
        let names: [SubjectName] = [
            .dns("hub.example.com"), .address([192, 0, 2, 7]), .address([0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [7]),
        ]
        let certificate = try CertificateTemplate(
            .server, subject: [NameAttribute(.organization, "o"), NameAttribute(.commonName, "c")], names: names, notBefore: 1_700_000_001,
            notAfter: 2_600_000_001
        ).signed(for: key.publicKey, by: ca, caKey)
        #expect(certificate.names == Set(names))
        #expect(certificate.notBefore == 1_700_000_001)
        #expect(certificate.notAfter == 2_600_000_001)
        #expect(certificate.subject == [NameAttribute(.organization, "o"), NameAttribute(.commonName, "c")])
        #expect(certificate.belongs(to: key))
        #expect(!certificate.belongs(to: caKey))
        #expect(!certificate.isAuthority)
        #expect(ca.isAuthority)
        #expect(certificate.serial.count == 40)
        #expect(try Certificate.read(pem: certificate.pem).der == certificate.der)
        try certificate.verify(issuedBy: ca, purpose: .server, at: Self.now)
        #expect(throws: TLSError.self) { try certificate.verify(issuedBy: ca, purpose: .server, at: 1_600_000_000) }
        #expect(throws: TLSError.self) { try certificate.verify(issuedBy: ca, purpose: .client, at: Self.now) }
    }

    @Test("a certificate of another authority of the same name does not verify")
    func otherAuthority() throws {
        let key = try PrivateKey.generate()
        let template = CertificateTemplate(.client, subject: .node("n"), notBefore: 1_700_000_000, notAfter: 4_000_000_000)
        let caKey = try PrivateKey.generate()
        let certificate = try template.signed(for: key.publicKey, by: try Self.authority(caKey), caKey)
        let other = try Self.authority(try PrivateKey.generate())
        #expect(throws: TLSError.self) { try certificate.verify(issuedBy: other, purpose: .any) }
    }

    @Test("serial numbers differ")
    func serials() throws {
        let key = try PrivateKey.generate()
        let serials = try Set((0..<20).map { _ in try Self.authority(key).serial })
        #expect(serials.count == 20)
    }

    @Test("bytes after a certificate or a request are refused, and so is a cut one")
    func exactLength() throws {
        let key = try PrivateKey.generate()
        let der = try Self.authority(key).der
        #expect(throws: TLSError.self) { try Certificate.read(der: der + [0]) }
        #expect(throws: TLSError.self) { try Certificate.read(der: Array(der.dropLast())) }
        #expect(throws: TLSError.self) { try Certificate.read(der: []) }
        let request = try CertificateRequest.make(subject: .node("n"), key: key)
        #expect(throws: TLSError.self) { _ = try CertificateRequest.read(der: request + [0]) }
        #expect(throws: TLSError.self) { _ = try CertificateRequest.read(der: Array(request.dropLast())) }
    }

    @Test("a request shows its subject and key, and its signature covers every byte of its body")
    func requests() throws {
        let key = try PrivateKey.generate()
        let der = try CertificateRequest.make(subject: .node("edge-0"), names: [.dns("x")], key: key)
        let request = try CertificateRequest.read(der: der)
        // `#expect` cannot look into a value that cannot be copied.
        let (subject, kind, isValid) = (request.subject, request.publicKey?.kind, request.isSignatureValid)
        #expect(subject == .node("edge-0"))
        #expect(kind == .curve("prime256v1"))
        #expect(isValid)
        var forged = der
        let position = try #require(forged.indices.first { forged[$0...].starts(with: "edge-0".utf8) })
        forged[position] = 0x66
        let other = try CertificateRequest.read(der: forged)
        let (otherSubject, isOtherValid) = (other.subject, other.isSignatureValid)
        #expect(otherSubject == .node("fdge-0"))
        #expect(!isOtherValid)
    }

    @Test("the error queue is empty after failures")
    func errorQueue() throws {
        _ = try? Certificate.read(der: [1, 2, 3])
        _ = try? PrivateKey.read(pem: Array("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".utf8))
        #expect(drainErrorQueue() == [])
    }

    @Test(
        "base64url follows RFC 4648 and is read strictly",
        arguments: [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy"),
        ])
    func base64(plain: String, text: String) {
        #expect(Base64URL.encode(Array(plain.utf8)) == text)
        #expect(Base64URL.decode(text.utf8) == Array(plain.utf8))
    }

    @Test(
        "base64url refuses padding, foreign characters, impossible lengths and stray bits",
        arguments: ["Zg==", "Zm+v", "Z", "Zh", "Zm9v\n"])
    func strictBase64(text: String) {
        #expect(Base64URL.decode(text.utf8) == nil)
    }

    @Test("SHA-256 and HMAC-SHA256 give the published values")
    func digests() throws {
        #expect(Digest.hex(try Digest.sha256(Array("abc".utf8))) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        // RFC 4231, test case 2.
        let code = try Digest.hmacSHA256(key: Secret(Array("Jefe".utf8)), Array("what do ya want for nothing?".utf8))
        #expect(Digest.hex(code) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        #expect(Digest.isEqual([1, 2], [1, 2]))
        #expect(!Digest.isEqual([1, 2], [1, 3]))
        #expect(!Digest.isEqual([1, 2], [1, 2, 3]))
    }

    @Test("addresses are read in both families and nothing else is", arguments: ["192.0.2.7", "2001:db8::7", "::1"])
    func addresses(text: String) {
        #expect(SubjectName.address(parsing: text) != nil)
        #expect(SubjectName.address(parsing: text + "x") == nil)
    }
}

private enum Samples {
    static let pkcs8 = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcNZD1jbz4se7n1To
        k1jkBcUGX22yH8+WSPBbnB73n++hRANCAASmcumhMeNhnP63dGVrtPXzBPPpmR1M
        tY3NSg9jlP+UtuW7V1yvL2jo/y+mcWFOM1fai5PV9C0C2tkTvrG3smkj
        -----END PRIVATE KEY-----
        """

    /// Its passphrase is of no interest: it is never asked for.
    static let encrypted = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAibG5AGrM5Y/wICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBcgDidqmGLlW11YSu00QLQEgZAh
        okkZC1/ev/aBNXYBJWqJVMeCkPf/5cxMTjyCfH75FNqX/adg8Ur7dX/JLPEwXvgy
        gCkieGWWOrOxMaq3JN6b38SN6yBLGBg10CyyUlpmQDVPaV3V/mEuYUeQSXcDYg0u
        Xgc5d32lpNAeQxykcSLDG/uY9n3t9rxWUgTjKOxMuEJsOyIgjrqKSAAFs9o/+HM=
        -----END ENCRYPTED PRIVATE KEY-----
        """
}
