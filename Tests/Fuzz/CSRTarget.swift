// Certificate requests. The first byte says how: the bytes are the request in DER, or they choose the attributes of a subject, for which
// a request is then made and signed here.
//
// Checked for every input: a request is accepted exactly if its subject is that of the node (and, of a made one, because of nothing
// else); the certificate made from an accepted request names the node and nothing else, is for clients alone, and verifies.

internal import HubCerts
internal import HubTLS

struct CSRTarget: FuzzTarget {
    static let name = "csr"
    static let summary = "certificate requests: OpenSSL's parser, the enrolment policy, the certificate that is signed"
    static let maxLength = 4096

    private static let now: Int64 = 1_800_000_000
    private static let node = "edge-0"
    private static let kinds: [NameAttributeKind] = [.commonName, .organization, .country, .province, .locality]
    private static let values = [
        "system:node:edge-0", "system:nodes", "system:node:edge-1", "system:masters", "CN", "Zhejiang", "Hangzhou", "", "kubeedge.io",
    ]
    private let authority: Authority
    private let key: PrivateKey

    init() throws {
        key = try PrivateKey.generate()
        authority = try Authority.make(key: try PrivateKey.generate(), now: Self.now)
    }

    func run(_ bytes: UnsafeRawBufferPointer) {
        var choices = unsafe Choices(bytes)
        guard choices.byte() & 1 == 1 else {
            _ = examine(choices.rest())
            return
        }
        var subject: [NameAttribute] = []
        for _ in 0..<min(8, choices.byte()) {
            let kind = choices.pick(Self.kinds)
            let value = choices.byte() & 3 == 3 ? String(decoding: choices.field().prefix(60), as: UTF8.self) : choices.pick(Self.values)
            subject.append(NameAttribute(kind, value))
        }
        let names: [SubjectName] = choices.byte() & 1 == 1 ? [.dns("evil.example")] : []
        guard let request = try? CertificateRequest.make(subject: subject, names: names, key: key) else { return }
        func count(_ kind: NameAttributeKind) -> Int { subject.count { $0.kind == kind } }
        let isNodes =
            subject.contains(NameAttribute(.commonName, "system:node:edge-0")) && count(.commonName) == 1
            && subject.contains(NameAttribute(.organization, "system:nodes")) && count(.organization) == 1
            && count(.country) < 2 && count(.province) < 2 && count(.locality) < 2
        require(examine(request) == isNodes, isNodes ? "the node's own request is refused" : "a wrong subject is accepted")
    }

    private func examine(_ request: [UInt8]) -> Bool {
        guard let accepted = try? EnrollmentPolicy.examine(request, node: Self.node) else { return false }
        guard let certificate = try? authority.nodeCertificate(node: Self.node, key: accepted, days: 365, now: Self.now) else {
            require(false, "no certificate for an accepted request")
            return false
        }
        require(certificate.subject == .node(Self.node), "the certificate's subject is not the node")
        require(certificate.names.isEmpty, "the certificate has alternative names")
        require(!certificate.isAuthority, "the certificate is that of an authority")
        require((try? certificate.verify(issuedBy: authority.certificate, purpose: .client, at: Self.now)) != nil, "it does not verify")
        require((try? certificate.verify(issuedBy: authority.certificate, purpose: .server, at: Self.now)) == nil, "it serves a server")
        return true
    }

    func seeds(_ lines: [[UInt8]]) throws -> [[UInt8]] {
        func raw(_ subject: [NameAttribute], _ names: [SubjectName] = []) throws -> [UInt8] {
            [0] + (try CertificateRequest.make(subject: subject, names: names, key: try PrivateKey.generate()))
        }
        return [
            try raw(.node(Self.node)), try raw(.node("edge-1"), [.dns("x"), .address([127, 0, 0, 1])]),
            try raw(.node(Self.node) + [NameAttribute(.country, "CN"), NameAttribute(.locality, "Hangzhou")]), try raw([]),
            [1, 2, 0, 0, 0, 1, 0, 1, 0], [1, 5, 0, 0, 0, 1, 0, 1, 2, 0, 4, 3, 0, 5, 4, 0, 6, 1],
            [1, 3, 0, 0, 0, 1, 0, 1, 0, 3, 0x41, 0, 0],
        ]
    }
}
