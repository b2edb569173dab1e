// Requests and responses of the HTTPS side, without HTTP's framing.

package import HubTLS

/// Who a client is by its certificate, which the authority has signed.
package enum ClientIdentity: Sendable, Equatable {
    case none
    case node(String)
    /// Something else: the shared certificate of old EdgeCores (`kubeedge.io`), a server.
    case other

    package init(_ peer: TLSPeer?) {
        let prefix = "system:node:"
        guard let peer else {
            self = .none
            return
        }
        if peer.commonNames.count == 1, peer.commonNames[0].hasPrefix(prefix), peer.organizations == ["system:nodes"] {
            self = .node(String(peer.commonNames[0].dropFirst(prefix.count)))
        } else {
            self = .other
        }
    }
}

/// The head of a request.
package struct CertsRequest: Sendable {
    package var method: String
    /// As in the request line, with a query if there is one.
    package var target: String
    /// All values of `NodeName`.
    package var nodeNames: [String]
    /// All values of `Authorization`.
    package var authorizations: [String]
    package var identity: ClientIdentity
    /// Of the client's certificate.
    package var facts: CertificateFacts?
    /// The address of the client, without its port.
    package var remote: String

    package init(
        method: String, target: String, nodeNames: [String] = [], authorizations: [String] = [], identity: ClientIdentity = .none,
        facts: CertificateFacts? = nil, remote: String = ""
    ) {
        self.method = method
        self.target = target
        self.nodeNames = nodeNames
        self.authorizations = authorizations
        self.identity = identity
        self.facts = facts
        self.remote = remote
    }
}

/// A whole answer.
package struct CertsResponse: Sendable, Equatable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// Nothing else is expected from this client for now.
    package var closes = false

    package init(_ status: Int, type: String, body: [UInt8]) {
        self.status = status
        headers = [("Content-Type", type)]
        self.body = body
    }

    /// A line of text.
    package init(_ status: Int, _ text: String) {
        self.init(status, type: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    static func certificate(_ der: [UInt8]) -> CertsResponse {
        CertsResponse(200, type: "application/pkix-cert", body: der)
    }

    func with(_ name: String, _ value: String) -> CertsResponse {
        var copy = self
        copy.headers.append((name, value))
        return copy
    }

    func closing() -> CertsResponse {
        var copy = self
        copy.closes = true
        return copy
    }

    package static func == (left: CertsResponse, right: CertsResponse) -> Bool {
        left.status == right.status && left.body == right.body && left.closes == right.closes
            && left.headers.elementsEqual(right.headers) { $0 == $1 }
    }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}
