// What a node may touch: the rules behind `hub-dispatch up --policy node`.
//
// KubeEdge v1.23.1 (cloud/pkg/cloudhub/authorization), when its authorization is switched on, reads a message's route as a request to the
// Kubernetes API and asks the node authorizer; messages of KubeEdge's own kinds pass. Here the same is a table over the segments
// `<namespace>/<type>/<name>` of the resource and the operation. `content` is not read. Where only the object tells whose it is (which
// node a pod is bound to, which pod uses a secret), the path decides, and the API server has the last word.
//
// Differs from KubeEdge, each time because its cloud side acts on more than its authorizer asks about:
// - The message is judged by the module that it goes to. KubeEdge lets every `upload` pass, whatever its resource, and its edge
//   controller patches a node without looking at the operation.
// - Node objects, node status and leases must have the node's name also when they are made or changed. KubeEdge leaves that to an
//   admission plugin of the API server.
// - A report about a task must be the node's own. KubeEdge lets any of the old kind pass and refuses all of the new kind.
// - Events may be reported; KubeEdge's table forgets them.

internal import HubMessage

package enum NodePolicy {
    /// Why a message is refused.
    package enum Refusal: Int, Sendable, CaseIterable {
        /// The object, or the report, is another node's.
        case otherNode
        /// No node may do that with objects of this type.
        case operation
        /// Nodes have no business with this type.
        case type
        /// The resource is not `<namespace>/<type>/<name>`.
        case shape

        package var text: String {
            switch self {
            case .otherNode: "it is another node's"
            case .operation: "a node may not do that with this type"
            case .type: "not a type that nodes send"
            case .shape: "the resource is not namespace, type and name"
            }
        }
    }

    private struct Operations: OptionSet {
        let rawValue: UInt8
        static let insert = Operations(rawValue: 1)
        static let update = Operations(rawValue: 2)
        static let patch = Operations(rawValue: 4)
        static let query = Operations(rawValue: 8)
        static let delete = Operations(rawValue: 16)
        static let write: Operations = [.insert, .update, .patch]

        init(rawValue: UInt8) { self.rawValue = rawValue }

        init(_ line: Line) {
            let operation = line.index.route.operation
            if line.equals(operation, "update") {
                self = .update
            } else if line.equals(operation, "patch") {
                self = .patch
            } else if line.equals(operation, "query") {
                self = .query
            } else if line.equals(operation, "insert") {
                self = .insert
            } else if line.equals(operation, "delete") {
                self = .delete
            } else {
                self = []
            }
        }
    }

    private enum Name {
        /// The node's own.
        case own
        /// The node's own, in the namespace of node leases.
        case ownLease
        case any
        /// There may be none: a list.
        case optional
    }

    /// What the edge controller takes from nodes (cloud/pkg/edgecontroller/controller/upstream.go, `dispatchMessage`), those that come
    /// often first, with the verbs of Kubernetes' node authorizer and `NodeRules`.
    private static let rules: [(type: StaticString, operations: Operations, name: Name)] = [
        ("lease", [.write, .query, .delete], .ownLease),
        ("podstatus", .write, .optional),
        ("podpatch", [.update, .patch], .any),
        ("nodestatus", .write, .own),
        ("nodepatch", [.update, .patch], .own),
        ("node", [.write, .query], .own),
        ("pod", [.insert, .query, .delete], .any),
        ("configmap", .query, .any),
        ("secret", .query, .any),
        ("serviceaccounttoken", .query, .any),
        ("event", .write, .any),
        ("persistentvolume", .query, .any),
        ("persistentvolumeclaim", .query, .any),
        ("volumeattachment", .query, .any),
        ("certificatesigningrequest", [.insert, .query], .any),
        ("rulestatus", .update, .any),
    ]

    /// Judges a message of `node` that is about to go to `module`.
    ///
    /// - Parameter resource: the value of `route.resource` as the edge wrote it.
    /// - Returns: nil when the message may pass.
    static func refusal(
        of line: Line, to module: UpstreamDispatcher.Module, node: UnsafeRawBufferPointer, resource: UnsafeRawBufferPointer
    ) -> Refusal? {
        switch module {
        // The answers of storage drivers; user data for the router; twins and API requests, which their controllers check.
        case .csi, .router, .devicecontroller, .dynamiccontroller: nil
        case .taskmanager: unsafe isOwnTask(resource, node) ? nil : .otherNode
        case .edgecontroller: unsafe object(line, node, resource)
        }
    }

    private static func object(_ line: Line, _ node: UnsafeRawBufferPointer, _ resource: UnsafeRawBufferPointer) -> Refusal? {
        if unsafe JSONText.equal(resource, "k8s/ca.crt") { return nil }
        var segments = unsafe Segments(resource)
        let namespace = unsafe segments.next()
        let type = unsafe segments.next()
        let name = unsafe segments.next()
        for rule in rules where unsafe JSONText.equal(type, rule.type) {
            guard unsafe !namespace.isEmpty, segments.isAtEnd else { return .shape }
            let operation = Operations(line)
            guard !operation.isEmpty, rule.operations.contains(operation) else { return .operation }
            switch rule.name {
            case .optional: return nil
            case .any: return unsafe name.isEmpty ? .shape : nil
            case .own: return unsafe JSONText.equal(name, node) ? nil : .otherNode
            case .ownLease:
                return unsafe JSONText.equal(name, node) && JSONText.equal(namespace, "kube-node-lease") ? nil : .otherNode
            }
        }
        return .type
    }

    /// `task/<task>/node/<node>`, or for the newer jobs `operations.kubeedge.io/v1alpha2/<type>/<job>/node/<node>`: the task manager takes
    /// the node from the fourth segment, or for a resource that begins like the second form from the sixth.
    private static func isOwnTask(_ resource: UnsafeRawBufferPointer, _ node: UnsafeRawBufferPointer) -> Bool {
        var segments = unsafe Segments(resource)
        let isNew = unsafe JSONText.equal(segments.next(), "operations.kubeedge.io")
        guard unsafe !isNew || JSONText.equal(segments.next(), "v1alpha2") else { return false }
        if isNew { _ = unsafe segments.next() }
        _ = unsafe segments.next()
        return unsafe JSONText.equal(segments.next(), "node") && JSONText.equal(segments.next(), node) && segments.isAtEnd
    }

    /// The segments of a path, one after the other; empty past the end.
    @safe private struct Segments {
        private let path: UnsafeRawBufferPointer
        private var start = 0

        init(_ path: UnsafeRawBufferPointer) { unsafe self.path = unsafe path }

        var isAtEnd: Bool { unsafe start > path.count }

        mutating func next() -> UnsafeRawBufferPointer {
            let begin = unsafe min(start, path.count)
            var end = begin
            while unsafe end < path.count, unsafe path[end] != 0x2f { end += 1 }
            start = end + 1
            return unsafe UnsafeRawBufferPointer(rebasing: path[begin..<end])
        }
    }
}
