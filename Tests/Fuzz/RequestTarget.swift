// Requests to hub-certs, after HTTP's framing: fields end with a byte 0 and are the target, the body, then values of NodeName and
// Authorization; the first bytes choose the method, the client's certificate, and whether the right token is added.
//
// Checked for every input: a certificate needs the token or the node's own certificate, and the name of a node; a report needs the
// node's certificate; nothing else is let through; a report that is accepted is one line, a message about that node.

internal import Foundation
internal import HubCerts
internal import HubMessage
internal import HubTLS

struct RequestTarget: FuzzTarget {
    static let name = "request"
    static let summary = "requests to hub-certs: routes, credentials, task reports"
    static let maxLength = 4096

    private static let now: Int64 = 1_800_000_000
    private static let methods = ["GET", "POST", "HEAD", ""]
    private let authority: Authority
    private let authorities: AuthoritySet
    private let bearer: String

    init() throws {
        authority = try Authority.make(key: try PrivateKey.generate(), now: Self.now)
        authorities = try AuthoritySet(signing: authority)
        bearer = try authority.tokens.make(expiry: Self.now + 100).split(separator: ".").dropFirst().joined(separator: ".")
    }

    func run(_ bytes: UnsafeRawBufferPointer) {
        var choices = unsafe Choices(bytes)
        let method = choices.pick(Self.methods)
        let owner = choices.byte()
        let identity: ClientIdentity = [.none, .node("edge-0"), .node("edge-1"), .other, .node("")][Int(owner) % 5]
        let hasToken = choices.byte() & 1 == 1
        let target = String(decoding: choices.field(), as: UTF8.self)
        let body = choices.field()
        var nodeNames: [String] = []
        var authorizations = hasToken ? ["Bearer \(bearer)"] : []
        for _ in 0..<3 {
            let value = choices.field()
            guard let kind = value.first else { continue }
            let text = String(decoding: value.dropFirst(), as: UTF8.self)
            if kind & 1 == 0 { nodeNames.append(text) } else { authorizations.append(text) }
        }
        let service = CertsService(
            authorities: authorities, nodes: IssuedNodes(capacity: 10, perMinute: 10), failures: FailureLimiter(limit: 10, capacity: 10),
            rules: EnrollmentRules(), counters: CertsCounters(), notify: { _ in })
        let request = CertsRequest(
            method: method, target: target, nodeNames: nodeNames, authorizations: authorizations, identity: identity, remote: "192.0.2.1")
        switch service.begin(request, now: Self.now) {
        case .answer(let response):
            let isPublic = response.status == 200 && target.hasPrefix("/ca.crt")
            require(isPublic == (response.body == authority.certificate.der), "an answer with a certificate")
            require((200...599).contains(response.status), "status \(response.status)")
        case .proceed(let task): proceed(service, task, body, identity, nodeNames, hasToken, target)
        }
    }

    private func proceed(
        _ service: CertsService, _ task: CertsService.Task, _ body: [UInt8], _ identity: ClientIdentity, _ nodeNames: [String],
        _ hasToken: Bool, _ target: String
    ) {
        let owner: String
        switch task {
        case .enroll(let node, let credential, _, let token):
            require(token?.node ?? node == node, "a certificate for another node than the token's")
            require([node] == nodeNames && NodeName.isValid(Array(node.utf8)), "a certificate for no node")
            // No input can hold a token that is signed, so it is the one that was added.
            require(credential == .token ? hasToken : identity == .node(node), "a certificate without a credential")
            owner = node
        case .upgrade(let node):
            require(identity == .node(node), "a report without the node's certificate")
            owner = node
        case .status(let node, let type, let task):
            require(identity == .node(node), "a report without the node's certificate")
            require(
                target.split(separator: "?", omittingEmptySubsequences: false)[0] == "/task/\(type)/name/\(task)/node/\(node)/status",
                "another task than the target says")
            owner = node
        }
        switch service.finish(task, body: body, now: Self.now) {
        case .now(let response): require(response.status != 200, "accepted without a record")
        case .afterRecord(let response, let record):
            guard case .enroll = task else { return require(false, "a record of something else") }
            require(record.node == owner && FlatJSON(record.line.dropLast()) != nil, "the record")
            require((try? Certificate.read(der: response.body))?.subject == .node(owner), "the certificate is another node's")
        case .afterLine(_, let line):
            requireLine(line, "report") {
                let parts = $0.string($0.index.route.resource).split(separator: "/", omittingEmptySubsequences: false)
                require(parts.count == 4 && parts[2] == "node" && parts[3] == owner, "a report about another node")
                let content = FlatJSON(unsafe [UInt8]($0.raw($0.index.content.value)))
                require([.string(""), .string(owner)].contains(content?.goField("NodeName")), "a report that names another node")
            }
        }
    }

    func seeds(_ lines: [[UInt8]]) -> [[UInt8]] {
        let upgrade = #"{"UpgradeID":"u1","NodeName":"edge-0","Status":"upgrade_success","Reason":"r"}"#
        let status = #"{"NodeName":"edge-0","State":"s","Event":"Upgrade","Action":"Success","Reason":"","Time":"t","ExternalMessage":""}"#
        return [
            "\0\0\0/ca.crt\0", "\0\0\u{1}/edge.crt\0body\0bedge-0\0", "\0\u{1}\0/edge.crt\0body\0bedge-0\0",
            "\0\0\0/edge.crt\0\0bedge-0\0aBearer x.y.z\0",
            "\0\u{1}\0/node/edge-0\0", "\u{1}\u{1}\0/nodeupgrade\0\(upgrade)\0",
            "\u{1}\u{1}\0/task/upgrade/name/t1/node/edge-0/status\0\(status)\0",
            "\u{2}\0\0/ca.crt?x\0", "\0\u{4}\0/edge.crt\0\0b\0",
        ].map { Array($0.utf8) }
    }
}
