// Which node a connection is (design: "hub-wsserve", rule 1). Stricter than KubeEdge, which trusts the header `node_id`
// unless authorization is switched on: here the certificate names the node, and the header must say the same.

internal import HubMessage
package import HubTLS

package enum NodeIdentity {
    package enum Problem: String, Error, Sendable, Equatable {
        case noHeader = "no node_id header"
        case notAName = "node_id is no RFC 1123 subdomain"
        case noCertificate = "no client certificate"
        case notANode = "the certificate is not a node's"
        case otherNode = "the certificate is another node's"
    }

    /// - Parameter header: the value of `node_id`.
    /// - Parameter peer: the verified client certificate.
    /// - Parameter needsCertificate: false for plain connections, which only loopback addresses have.
    /// - Parameter admitsLegacy: the shared certificate of old EdgeCores, CN `kubeedge.io`, stands for any node.
    package static func node(
        header: String?, peer: TLSPeer?, needsCertificate: Bool, admitsLegacy: Bool
    ) throws(Problem) -> String {
        guard let name = header, !name.isEmpty else { throw .noHeader }
        guard NodeName.isValid(name.utf8) else { throw .notAName }
        guard needsCertificate else { return name }
        guard let peer else { throw .noCertificate }
        if admitsLegacy, peer.commonNames == ["kubeedge.io"] { return name }
        // One value each: a certificate with several names says several things.
        guard peer.organizations == ["system:nodes"], peer.commonNames.count == 1, peer.commonNames[0].hasPrefix("system:node:") else {
            throw .notANode
        }
        guard peer.commonNames[0] == "system:node:" + name else { throw .otherNode }
        return name
    }
}
