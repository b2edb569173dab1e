// The paths of the HTTPS side: those of KubeEdge v1.23.1 (common/constants, `Default…URL`).

enum CertsRoute: Equatable {
    case authority
    case enroll
    case node(String)
    case upgrade
    case status(type: String, task: String, node: String)

    /// - Parameter target: of the request line; a query is ignored. Names need no percent encoding, so there is none.
    init?(target: String) {
        let path = target.prefix { $0 != "?" }
        guard path.utf8.first == 0x2f else { return nil }
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch (parts.first, parts.count) {
        case ("ca.crt", 1): self = .authority
        case ("edge.crt", 1): self = .enroll
        case ("nodeupgrade", 1): self = .upgrade
        case ("node", 2): self = .node(parts[1])
        case ("task", 7) where parts[2] == "name" && parts[4] == "node" && parts[6] == "status":
            guard TaskReport.isSegment(parts[1]), TaskReport.isSegment(parts[3]) else { return nil }
            self = .status(type: parts[1], task: parts[3], node: parts[5])
        default: return nil
        }
    }

    var method: String {
        switch self {
        case .authority, .enroll, .node: "GET"
        case .upgrade, .status: "POST"
        }
    }
}
