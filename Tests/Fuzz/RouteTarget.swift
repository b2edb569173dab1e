// Resource paths: which node a message is for, what is cut, and which lane it takes. The bytes choose source, group, operation and the
// resource; the rest of the message is valid.
//
// Checked for every input, against the rules of the design written a second time, on split strings: node, inner resource and lane of
// `hub-dispatch down`; that hub-wsserve, reading the same plain line, finds the same node; the resource that `hub-dispatch up` writes.

internal import HubDispatch
internal import HubMessage
internal import HubServe

struct RouteTarget: FuzzTarget {
    static let name = "route"
    static let summary = "resource paths and lanes, downstream and upstream"
    static let maxLength = 512

    private static let sources = [
        "edgecontroller", "edgemgr", "taskmanager", "nodeupgradejobcontroller", "edged", "twin", "metaserver", "devicecontroller", "",
    ]
    private static let groups = ["resource", "user", "twin", "meta", ""]
    private static let operations = [
        "update", "insert", "delete", "response", "get", "delta", "deleted", "query", "patch", "upload", "upgrade", "createvolume", "error",
        "applicationResponse", "UpdateNodeActionStatus", "keepalive", "",
    ]

    private struct Route {
        let source: String
        let group: String
        let operation: String
        let hasUID: Bool
        let resource: [UInt8]

        var message: [UInt8] {
            let route = #""route":{"source":"\#(source)","group":"\#(group)","operation":"\#(operation)","resource":"#
            let content = hasUID ? #"{"metadata":{"uid":"u"}}"# : #""OK""#
            return Array(#""header":{"msg_id":"m","resourceversion":"10"},\#(route)"#.utf8) + quoted(resource)
                + Array("},\"content\":\(content)}".utf8)
        }
    }

    func run(_ bytes: UnsafeRawBufferPointer) {
        var choices = unsafe Choices(bytes)
        let route = Route(
            source: choices.pick(Self.sources), group: choices.pick(Self.groups), operation: choices.pick(Self.operations),
            hasUID: choices.byte() & 1 == 1, resource: choices.rest())
        guard String(validating: route.resource, as: UTF8.self) != nil else { return }
        let accepted: Void? = withLine([0x7b] + route.message) { line in
            require(line.value(line.index.route.resource) == route.resource, "the resource is read otherwise")
            down(line, route)
        }
        require(accepted != nil, "the line is refused")
        withLine(Array(#"{"hub":{"kind":"up","node":"edge-0","session":7},"#.utf8) + route.message) { up($0, route) }
    }

    // MARK: Downstream

    private func down(_ line: Line, _ route: Route) {
        let parts = route.resource.split(separator: 0x2f, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        let position = parts.firstIndex(of: "node").map { $0 + 1 }
        let node = position.flatMap { $0 < parts.count ? parts[$0] : nil } ?? ""
        let isPrefixed = position == 1 && parts.count > 2 && node != ""
        let path = isPrefixed ? Array(parts[2...]) : parts

        var output: [UInt8] = []
        var dispatcher = DownstreamDispatcher()
        let outcome = dispatcher.dispatch(line, to: &output)
        guard NodeName.isValid(Array(node.utf8)) else {
            if case .refused = outcome { return }
            return require(false, "down: taken without the name of a node")
        }
        let names = Set(path.prefix(3))
        let isForCloud =
            route.source == "edgemgr"
            && [
                "get": !names.isDisjoint(with: ["membership", "twin", "auth_info"]), "delta": names.contains("twin"),
                "document": names.contains("twin"), "deleted": names.contains("node"),
            ][route.operation, default: false]
        require(isForCloud == (outcome == .skipped), "down: between the cloud's modules")
        if isForCloud { return }
        let isOnce = Self.isOnce(route, path)
        if !isOnce, route.group != "resource" || !["insert", "update", "delete", "response"].contains(route.operation) {
            if case .refused = outcome { return }
            return require(false, "down: taken though no edge acknowledges it")
        }
        if !isOnce, !route.hasUID, route.operation != "delete" || path == [""] {
            if case .refused = outcome { return }
            return require(false, "down: taken without a key")
        }
        require(outcome == .forwarded, "down: not forwarded")
        requireLine(output, "down") { inner in
            require((try? inner.checkEnvelope()) != nil, "down: the envelope is refused")
            require(inner.string(inner.index.hub.node) == node, "down: another node")
            require(inner.kind == (isOnce ? .once : .ack), "down: another lane")
            require(inner.value(inner.index.route.resource) == Array(path.joined(separator: "/").utf8), "down: another resource")
        }
        var scratch: [UInt8] = []
        guard case .message(let served, _, _, _, _) = DownstreamLine(line, scratch: &scratch) else {
            return require(false, "hub-wsserve refuses the plain line")
        }
        require(served == node, "hub-wsserve finds another node")
    }

    private static func isOnce(_ route: Route, _ path: [String]) -> Bool {
        func segment(_ position: Int) -> String { position < path.count ? path[position] : "" }
        let type = segment(1)
        if segment(0) == "membership" || ["podlist", "serviceaccounttoken", "event"].contains(type) { return true }
        if path == ["k8s", "ca.crt"] || path.suffix(2) == ["twin", "cloud_updated"] { return true }
        if route.group == "user" || ["taskmanager", "nodeupgradejobcontroller"].contains(route.source) { return true }
        if ["createvolume", "applicationResponse"].contains(route.operation) { return true }
        if route.operation == "response", !route.hasUID { return true }
        guard route.source == "edgecontroller" else { return false }
        return ["lease", "nodepatch", "podpatch", "podstatus", "certificatesigningrequest"].contains(type)
            || type == "node" && route.operation != "update" || type == "pod" && route.operation == "response"
    }

    // MARK: Upstream

    private func up(_ line: Line, _ route: Route) {
        var dispatcher = UpstreamDispatcher()
        guard case .out(let module, let prefixed) = dispatcher.route(line) else { return }
        var output: [UInt8] = []
        UpstreamDispatcher.appendOut(line, module, prefixed: prefixed, to: &output)
        require(prefixed == (module != .csi && module != .taskmanager), "up: prefix for \(module)")
        requireLine(output, "up") { plain in
            require(!plain.isInner, "up: the envelope is left")
            let expected = (prefixed ? Array("node/edge-0/".utf8) : []) + route.resource
            require(plain.value(plain.index.route.resource) == expected, "up: another resource")
            require(plain.string(plain.index.route.destination) == module.rawValue, "up: another destination")
        }
        var strict = UpstreamDispatcher(policy: .enforced)
        let verdict = strict.route(line)
        if case .refused = verdict {
            require(strict.counters.policy.reduce(0, +) == 1, "policy: a refusal that is not counted")
        } else {
            require(verdict == .out(module, prefixed: prefixed), "policy: it changes the route")
            requireOwn(route, module)
        }
    }

    /// What a node may send, as its receivers read it: by the position of segments.
    private func requireOwn(_ route: Route, _ module: UpstreamDispatcher.Module) {
        let parts = route.resource.split(separator: 0x2f, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        switch module {
        case .taskmanager:
            let isNew = String(decoding: route.resource, as: UTF8.self).hasPrefix("operations.kubeedge.io/v1alpha2")
            require(parts.count == 4 || parts.count == 6, "policy: a report of no known form")
            if isNew, parts.count == 6 { return require(parts[5] == "edge-0", "policy: another node's report") }
            require(parts.count == 4 && parts[3] == "edge-0", "policy: another node's report")
        case .edgecontroller where route.resource != Array("k8s/ca.crt".utf8):
            require(parts.count <= 3 && parts.count >= 2 && parts[0] != "", "policy: no namespace and type")
            let (type, name) = (parts[1], parts.count > 2 ? parts[2] : "")
            let isOwnType = ["node", "nodestatus", "nodepatch", "lease"].contains(type)
            require(!isOwnType || name == "edge-0", "policy: another node's object")
            let isReadOnly = ["configmap", "secret", "serviceaccounttoken", "persistentvolume", "volumeattachment"].contains(type)
            require(!isReadOnly || route.operation == "query" && name != "", "policy: more than a question for one object")
        default: break
        }
    }

    func seeds(_ lines: [[UInt8]]) -> [[UInt8]] {
        var seeds: [[UInt8]] = []
        for line in lines {
            let seed = withLine(line) { line -> [UInt8] in
                let route = line.index.route
                func number(_ field: Field, _ list: [String]) -> UInt8 { UInt8(list.firstIndex(of: line.string(field)) ?? list.count - 1) }
                return [
                    number(route.source, Self.sources), number(route.group, Self.groups), number(route.operation, Self.operations),
                    line.index.content.uid.isPresent ? 1 : 0,
                ] + line.value(route.resource)
            }
            if let seed { seeds.append(seed) }
        }
        let update = UInt8(0)
        let report = UInt8(Self.operations.firstIndex(of: "UpdateNodeActionStatus") ?? 0)
        let query = UInt8(Self.operations.firstIndex(of: "query") ?? 0)
        let own = [
            "kube-node-lease/lease/edge-0", "default/nodestatus/edge-0", "default/nodepatch/edge-1", "default/podstatus", "default/event/e",
        ]
        seeds += own.map { [4, 3, update, 1] + Array($0.utf8) }
        seeds += ["default/secret/s", "null/persistentvolume/p", "default/node/edge-0"].map { [4, 3, query, 0] + Array($0.utf8) }
        seeds += ["task/t/node/edge-0", "operations.kubeedge.io/v1alpha2/nodeupgradejob/j/node/edge-0"].map {
            [4, 3, report, 0] + Array($0.utf8)
        }
        return seeds
    }
}
