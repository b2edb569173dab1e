// Whom a certificate and a header admit.

internal import HubServe
internal import HubTLS
internal import Testing

@Suite("NodeIdentity")
struct NodeIdentityTests {
    private func node(
        _ header: String?, _ names: [String], _ organizations: [String] = ["system:nodes"], legacy: Bool = false
    ) -> Result<String, NodeIdentity.Problem> {
        let peer = TLSPeer(commonNames: names, organizations: organizations, der: [])
        return Result { () throws(NodeIdentity.Problem) in
            try NodeIdentity.node(header: header, peer: peer, needsCertificate: true, admitsLegacy: legacy)
        }
    }

    @Test("the node that the certificate names, if the header says the same")
    func admitted() {
        #expect(node("edge-0", ["system:node:edge-0"]) == .success("edge-0"))
        #expect(node("edge-1", ["system:node:edge-0"]) == .failure(.otherNode))
        #expect(node("edge-0", ["system:node:edge-0\0"]) == .failure(.otherNode))
        #expect(node(nil, ["system:node:edge-0"]) == .failure(.noHeader))
        #expect(node("", ["system:node:"]) == .failure(.noHeader))
        #expect(node("Edge_0", ["system:node:Edge_0"]) == .failure(.notAName))
    }

    @Test("one name and one organization, exactly")
    func exact() {
        #expect(node("edge-0", ["edge-0"]) == .failure(.notANode))
        #expect(node("edge-0", []) == .failure(.notANode))
        #expect(node("edge-0", ["system:node:edge-0", "system:node:edge-1"]) == .failure(.notANode))
        #expect(node("edge-0", ["system:node:edge-0"], []) == .failure(.notANode))
        #expect(node("edge-0", ["system:node:edge-0"], ["system:nodes", "system:masters"]) == .failure(.notANode))
        #expect(node("edge-0", ["system:node:edge-0"], ["KubeEdge"]) == .failure(.notANode))
    }

    @Test("old certificates only where they are admitted")
    func legacy() {
        #expect(node("edge-0", ["kubeedge.io"], ["KubeEdge"]) == .failure(.notANode))
        #expect(node("edge-0", ["kubeedge.io"], ["KubeEdge"], legacy: true) == .success("edge-0"))
        #expect(node("edge-1", ["system:node:edge-0"], legacy: true) == .failure(.otherNode))
    }

    @Test("a plain connection has only its header, one with TLS must have a certificate")
    func plain() throws {
        #expect(try NodeIdentity.node(header: "a", peer: nil, needsCertificate: false, admitsLegacy: false) == "a")
        #expect(throws: NodeIdentity.Problem.noCertificate) {
            try NodeIdentity.node(header: "a", peer: nil, needsCertificate: true, admitsLegacy: true)
        }
    }
}
