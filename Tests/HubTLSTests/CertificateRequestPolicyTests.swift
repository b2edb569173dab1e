// Which requests are signed, and what the certificate then says.

internal import HubCerts
internal import HubTLS
internal import Testing

@Suite struct CertificateRequestPolicyTests {
    private static let edgeCore: [NameAttribute] = [
        NameAttribute(.country, "CN"), NameAttribute(.organization, "system:nodes"), NameAttribute(.locality, "Hangzhou"),
        NameAttribute(.province, "Zhejiang"), NameAttribute(.commonName, "system:node:edge-0"),
    ]

    private func refusal(_ subject: [NameAttribute], node: String = "edge-0") throws -> EnrollmentPolicy.Refusal? {
        let request = try CertificateRequest.make(subject: subject, key: try PrivateKey.generate())
        do throws(EnrollmentPolicy.Refusal) {
            _ = try EnrollmentPolicy.examine(request, node: node)
            return nil
        } catch {
            return error
        }
    }

    @Test("the node's subject is accepted, alone and with the attributes that EdgeCore adds")
    func accepted() throws {
        #expect(try refusal(.node("edge-0")) == nil)
        #expect(try refusal(Self.edgeCore) == nil)
        #expect(try refusal(.node("a.b-c.0"), node: "a.b-c.0") == nil)
    }

    @Test(
        "any other subject is refused",
        arguments: [
            [NameAttribute].node("edge-1"),
            [NameAttribute(.commonName, "system:node:edge-0")],
            [NameAttribute(.organization, "system:nodes")],
            [],
            [NameAttribute(.organization, "system:masters"), NameAttribute(.commonName, "system:node:edge-0")],
            [NameAttribute].node("edge-0") + [NameAttribute(.organization, "system:masters")],
            [NameAttribute].node("edge-0") + [NameAttribute(.commonName, "system:node:edge-1")],
            [NameAttribute].node("edge-0") + [NameAttribute].node("edge-0"),
            [NameAttribute(.organization, "system:nodes"), NameAttribute(.commonName, "system:node:edge-0 ")],
            [NameAttribute(.organization, "system:nodes"), NameAttribute(.commonName, "system:node:edge-0\0")],
            [NameAttribute(.organization, "system:nodes"), NameAttribute(.commonName, "SYSTEM:NODE:edge-0")],
            [NameAttribute(.organization, "KubeEdge"), NameAttribute(.commonName, "kubeedge.io")],
            // emailAddress, OU
            [NameAttribute].node("edge-0") + [NameAttribute(.other("1.2.840.113549.1.9.1"), "a@b")],
            [NameAttribute].node("edge-0") + [NameAttribute(.other("2.5.4.11"), "x")],
            [NameAttribute].node("edge-0") + [NameAttribute(.country, "CN"), NameAttribute(.country, "DE")],
        ])
    func forgedSubject(subject: [NameAttribute]) throws {
        guard case .subject? = try refusal(subject) else {
            Issue.record("accepted, or refused for another reason")
            return
        }
    }

    @Test(
        "a name that is no RFC 1123 subdomain is refused, even if the subject matches it",
        arguments: ["", "Edge-0", "edge_0", "-edge", "edge-", "a..b", "a/b", "edge\u{0}", String(repeating: "a", count: 254)])
    func badName(name: String) throws {
        // Such a CN may be too long for OpenSSL to make.
        let request = try CertificateRequest.make(subject: .node(name.utf8.count < 50 ? name : "x"), key: try PrivateKey.generate())
        #expect(throws: EnrollmentPolicy.Refusal.nodeName) { try EnrollmentPolicy.examine(request, node: name) }
    }

    @Test("a damaged body and a signature by another key are refused")
    func signature() throws {
        let key = try PrivateKey.generate()
        let request = try CertificateRequest.make(subject: .node("edge-0"), key: key)
        var damaged = request
        damaged[damaged.count - 1] ^= 1
        #expect(throws: EnrollmentPolicy.Refusal.signature) { try EnrollmentPolicy.examine(damaged, node: "edge-0") }
        #expect(throws: EnrollmentPolicy.Refusal.malformed) { try EnrollmentPolicy.examine([], node: "edge-0") }
        #expect(throws: EnrollmentPolicy.Refusal.malformed) { try EnrollmentPolicy.examine(request + [0], node: "edge-0") }
        // The other node's name in a request that was signed for this one.
        let position = try #require(request.indices.first { request[$0...].starts(with: "edge-0".utf8) })
        var forged = request
        forged[position + 5] = 0x31
        #expect(throws: EnrollmentPolicy.Refusal.signature) { try EnrollmentPolicy.examine(forged, node: "edge-1") }
    }

    @Test("weak and unusual keys are refused", arguments: WeakKeys.all)
    func weakKeys(sample: WeakKeys) throws {
        let key = try PrivateKey.read(pem: Array(sample.pem.utf8))
        let request = try CertificateRequest.make(subject: .node("edge-0"), key: key)
        do throws(EnrollmentPolicy.Refusal) {
            _ = try EnrollmentPolicy.examine(request, node: "edge-0")
            Issue.record("accepted")
        } catch {
            guard case .weakKey = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test("requested names do not reach the certificate, which is for clients only, for the asked days")
    func nothingElseIsGranted() throws {
        let now: Int64 = 1_800_000_000
        let authority = try Authority.make(key: try PrivateKey.generate(), now: now)
        let request = try CertificateRequest.make(
            subject: Self.edgeCore, names: [.dns("hub.example.com"), .address([127, 0, 0, 1])], key: try PrivateKey.generate())
        let key = try EnrollmentPolicy.examine(request, node: "edge-0")
        let certificate = try authority.nodeCertificate(node: "edge-0", key: key, days: 365, now: now)
        #expect(certificate.names == [])
        #expect(certificate.subject == .node("edge-0"))
        #expect(certificate.notAfter == now - 300 + 365 * 86_400)
        #expect(!certificate.isAuthority)
        try certificate.verify(issuedBy: authority.certificate, purpose: .client, at: now)
        #expect(throws: TLSError.self) { try certificate.verify(issuedBy: authority.certificate, purpose: .server, at: now) }
    }

    @Test("no certificate outlives its authority")
    func clamped() throws {
        let now: Int64 = 1_800_000_000
        let authority = try Authority.make(key: try PrivateKey.generate(), now: now)
        let key = try PrivateKey.generate().publicKey
        let late = (authority.certificate.notAfter ?? 0) - 1000
        #expect(try authority.nodeCertificate(node: "n", key: key, days: 365, now: late).notAfter == authority.certificate.notAfter)
        #expect(throws: TLSError.self) { try authority.nodeCertificate(node: "n", key: key, days: 365, now: late + 2000) }
    }
}

/// Keys made for these tests by `openssl genpkey`; they guard nothing.
struct WeakKeys: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let pem: String

    static let all = [
        WeakKeys(
            testDescription: "RSA with 1024 bits",
            pem: """
                -----BEGIN PRIVATE KEY-----
                MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBALw8A72cd9Rr0u+z
                Mt5MvCeiLlhF+xv0bFmJLrBkxIZhiR5MNyDuw3hVA+56/lyaJT5xgEids4aQrF8S
                kUT9SpZMQ7u15lqCtcb2CdSm77m1WDrMeSoMcDpKOxDWMXWjFulOKfgyV3MjYe8P
                E142z9O3AjQjj/fUC7iq2dTVw2ovAgMBAAECgYBHzUDECDZxcfvRcXK691xiZev1
                wiQKQs89zCViJd4NQJFUXFA/ILSxZwSL6KC0ZBxG2HbNvFIpx2/pCCUfwtq7GIDD
                YAi8ZMymXm4V+3K7x4MTmwHkqJi0xuBJ8KFeJflPBjlstln7AxmG/nwCzEa+sz22
                DpvnUOjfCvSMeBSUQQJBAOeEJI40Oua+Gv9HvOmdf9Bg7awHNRH3ycTPyAdo8Mcd
                2ogyIWAzdPbTiFEQw/u532w1lEedUuAFv9WHkSAMPCECQQDQJBnv+gG7hIl+bb+d
                hxMXSfNOp656eMtL40XuV1BC0qf8IANOt+QxfJJjAOuOpFZQQ3N79GLP9GZjECNI
                QVxPAkAFufIBhm8yh985Ezgr+xZPPCaEy8TXRe66rH0BGepism1WUw8aRwuMk1za
                zHRchJNvJMAfKVgEbH/7Mxg217ahAkEAwns5ERYVUFWC83Mwu8xedkBO64uaaC0+
                J+ZwjUdgY0/aTqbK8F67BdJUJdXSRDIhxFWCLqwnOBAxKxcFIJqR2QJBAJ+noOQC
                4gvaY8GXw3T8SSZWilIKBGtCHvJ2tHuuEhpW4KWtH3g7xb5930WVJJlEZg8+1iVQ
                kPFfg4JCs+Fe1iI=
                -----END PRIVATE KEY-----
                """),
        WeakKeys(
            testDescription: "secp256k1",
            pem: """
                -----BEGIN PRIVATE KEY-----
                MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQggC2OSCG3ktJekzHpXoqK
                Q4PKQ18OkmXoTLxFnB22ah+hRANCAAS6u2BmjH9Hh/4Fq3M9uvTmS4TjhWHNWuM8
                2kP/1ej/Cv6wnI8jwJxcmKGvJnsXP0koVd6xIBd5Z3DNihRcmuqY
                -----END PRIVATE KEY-----
                """),
        WeakKeys(
            testDescription: "P-224",
            pem: """
                -----BEGIN PRIVATE KEY-----
                MHgCAQAwEAYHKoZIzj0CAQYFK4EEACEEYTBfAgEBBBy45j/Iv2Hi/nW987zqO+GQ
                Kn4CeJjGFwKR+RhBoTwDOgAEBz9Rf9MFDT14J0oDSiyp8AUUd1+ICfdH0DNt8gM5
                fvffUJHu9IvzKw9EuSfiN91eD6atAwRmXNM=
                -----END PRIVATE KEY-----
                """),
        WeakKeys(
            testDescription: "P-256 with explicit parameters",
            pem: """
                -----BEGIN PRIVATE KEY-----
                MIIBeQIBADCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAAB
                AAAAAAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA
                ///////////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMV
                AMSdNgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg
                9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8A
                AAAA//////////+85vqtpxeehPO5ysL8YyVRAgEBBG0wawIBAQQgS/dV5n6Gta19
                COzI2LSxdmcOGBZmt6yAlkRB82GJlg+hRANCAASWXNY/0oASidZR0SEfPCi4Ea5k
                vXOwEt4yu9+3FJd6ADcSK5KIYtvLEgRlwXdBLbJ7aDF66fA9oFoZBfUPJq5E
                -----END PRIVATE KEY-----
                """),
        WeakKeys(
            testDescription: "Ed25519",
            pem: """
                -----BEGIN PRIVATE KEY-----
                MC4CAQAwBQYDK2VwBCIEIO7+vSZigfNe1GdP3NNFLem6i74fXhzB2nK1gp4U7GvZ
                -----END PRIVATE KEY-----
                """),
    ]
}
