// `hub-dispatch up`: splits acknowledgements from data and gives each message of a node its destination.
// Rules: design "hub-dispatch", the table, after KubeEdge v1.23.1 DispatchUpstream and Publish.
// Differs from KubeEdge: a node that names a cloud module as its source is refused with a reason, not dropped in silence.

package import HubMessage

/// Routes one line at a time; it remembers nothing but counts.
package struct UpstreamDispatcher: Sendable {
    /// Cloud modules that messages go to; `rawValue` is `route.destination`.
    package enum Module: String, Sendable, CaseIterable {
        case csi
        case router
        case taskmanager
        case edgecontroller
        case dynamiccontroller
        case devicecontroller

        var text: StaticString {
            switch self {
            case .csi: "csi"
            case .router: "router"
            case .taskmanager: "taskmanager"
            case .edgecontroller: "edgecontroller"
            case .dynamiccontroller: "dynamiccontroller"
            case .devicecontroller: "devicecontroller"
            }
        }
    }

    /// Where a line goes; the caller writes it there.
    package enum Route: Sendable, Equatable {
        /// Ends here.
        case drop
        /// To `--feedback`, unchanged.
        case feedback
        /// A node could not handle a message: to `--feedback`, and to the log.
        case refusalOfNode
        /// To the controllers, in plain form.
        case out(Module, prefixed: Bool)
        /// To `--feedback` and to the controllers.
        case both
        /// Answered from `--k8s-ca`, on `--feedback`.
        case certificateAuthority
        case refused(String)
    }

    package struct Counters: Sendable, Equatable {
        package var acknowledgements = 0
        package var nodeErrors = 0
        package var keepalives = 0
        package var out = 0
        package var events = 0
        package var caRequests = 0
        package var refused = 0
        /// Breaches of the policy, refused or not, by `NodePolicy.Refusal`.
        package var policy = [Int](repeating: 0, count: NodePolicy.Refusal.allCases.count)
    }

    /// What becomes of a message that `NodePolicy` would refuse.
    package enum Policy: Sendable {
        /// Nobody asks.
        case open
        /// It passes; `breach` says why it should not.
        case observed
        case enforced
    }

    package private(set) var counters = Counters()
    /// Why the last line would be refused, when the policy is only observed.
    package private(set) var breach: NodePolicy.Refusal?
    private let certificate: [UInt8]?
    private let policy: Policy

    /// - Parameter certificate: the file of `--k8s-ca`, sent to nodes that ask for it; without it they are answered by `edgecontroller`.
    package init(certificate: [UInt8]? = nil, policy: Policy = .open) {
        self.certificate = certificate
        self.policy = policy
    }

    package mutating func route(_ line: Line) -> Route {
        breach = nil
        let route = decide(line)
        switch route {
        case .drop: counters.keepalives += 1
        case .feedback where line.kind == .event, .both: counters.events += 1
        case .feedback: counters.acknowledgements += 1
        case .refusalOfNode: counters.nodeErrors += 1
        case .out: counters.out += 1
        case .certificateAuthority: counters.caRequests += 1
        case .refused: counters.refused += 1
        }
        return route
    }

    private mutating func decide(_ line: Line) -> Route {
        if line.isInner {
            do throws(MessageError) { try line.checkEnvelope() } catch { return .refused(error.description) }
            switch line.kind {
            case .up: break
            case .event: return Self.event(line)
            default: return .refused("not from a node: kind \(line.string(line.index.hub.kind))")
            }
        }
        return unsafe line.withValue(line.index.route.resource) { resource in
            // A plain line, recorded after this stage, has the node's prefix already.
            let prefix = unsafe line.isInner ? 0 : ResourcePath(resource).prefix
            if !line.isInner, prefix == 0 { return .refused("the resource does not begin with node/<node>/") }
            let inner = unsafe UnsafeRawBufferPointer(rebasing: resource[prefix...])
            let route = unsafe Self.data(line, inner, answersCA: certificate != nil)
            guard policy != .open, case .out(let module, _) = route else { return route }
            if line.isInner {
                return unsafe line.withValue(line.index.hub.node) { unsafe judge(route, line, module, $0, inner) }
            }
            let node = unsafe UnsafeRawBufferPointer(rebasing: resource[5..<prefix - 1])
            return unsafe judge(route, line, module, node, inner)
        }
    }

    private mutating func judge(
        _ route: Route, _ line: Line, _ module: Module, _ node: UnsafeRawBufferPointer, _ resource: UnsafeRawBufferPointer
    ) -> Route {
        guard let refusal = unsafe NodePolicy.refusal(of: line, to: module, node: node, resource: resource) else { return route }
        counters.policy[refusal.rawValue] += 1
        guard policy == .enforced else {
            breach = refusal
            return route
        }
        return .refused("policy: \(refusal.text): \(Summary(line))")
    }

    /// What a message was about, for a log line; each part is cut to a length that fits there.
    package struct Summary: Sendable, CustomStringConvertible {
        /// Empty for a plain line, whose resource begins with it.
        package let node: String
        package let operation: String
        package let resource: String

        package init(_ line: Line) {
            func text(_ field: Field) -> String { String(decoding: line.value(field).prefix(253), as: UTF8.self) }
            node = text(line.index.hub.node)
            operation = text(line.index.route.operation)
            resource = text(line.index.route.resource)
        }

        package var description: String { "\(node.isEmpty ? "" : "\(node): ")\(operation) \(resource)" }
    }

    // These take what they need: a method that changes nothing would copy the dispatcher for each line.

    private static func event(_ line: Line) -> Route {
        switch line.event {
        case .connected: line.index.hub.again ? .feedback : .both
        case .disconnected: .both
        case .reset, .live: .feedback
        case .close, .who, nil: .refused("this event goes to the transport, not up")
        }
    }

    private static func data(_ line: Line, _ resource: UnsafeRawBufferPointer, answersCA: Bool) -> Route {
        let route = line.index.route
        @inline(__always) func operation(_ text: StaticString) -> Bool { line.equals(route.operation, text) }
        @inline(__always) func source(_ text: StaticString) -> Bool { line.equals(route.source, text) }

        if operation("keepalive") { return .drop }
        if unsafe isVolume(resource) { return .out(.csi, prefixed: false) }
        if operation("response") { return line.isInner ? .feedback : .refused("an acknowledgement needs its envelope") }
        if operation("error") { return line.isInner ? .refusalOfNode : .refused("a refusal needs its envelope") }
        if operation("upload"), line.equals(route.group, "user") { return .out(.router, prefixed: true) }
        if operation("prepull") || operation("upgrade") || operation("UpdateNodeActionStatus") {
            return .out(.taskmanager, prefixed: false)
        }
        if unsafe JSONText.equal(resource, "k8s/ca.crt"), answersCA, line.isInner { return .certificateAuthority }
        for module: StaticString in ["cloudhub", "cloudStream", "devicecontroller", "edgecontroller", "synccontroller"] where source(module)
        {
            return .refused("a node may not speak for the cloud module \(module)")
        }
        if source("metaserver") { return .out(.dynamiccontroller, prefixed: true) }
        if source("twin") { return .out(.devicecontroller, prefixed: true) }
        return .out(.edgecontroller, prefixed: true)
    }

    /// `^\w[-\w.+]*/volume/\w[-\w.+]*`, the resources of KubeEdge's CSI driver.
    static func isVolume(_ resource: UnsafeRawBufferPointer) -> Bool {
        func isWord(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
            default: false
            }
        }
        func isInner(_ byte: UInt8) -> Bool { isWord(byte) || byte == 0x2d || byte == 0x2e || byte == 0x2b }
        var at = 0
        guard let first = unsafe resource.first, isWord(first) else { return false }
        while at < resource.count, unsafe isInner(resource[at]) { at += 1 }
        let middle: StaticString = "/volume/"
        let end = at + middle.utf8CodeUnitCount
        guard end < resource.count else { return false }
        return unsafe JSONText.equal(UnsafeRawBufferPointer(rebasing: resource[at..<end]), middle) && isWord(resource[end])
    }

    // MARK: Writing

    /// Appends the plain form of a data line or an event.
    package static func appendOut(_ line: Line, _ module: Module, prefixed: Bool, to output: inout [UInt8]) {
        guard prefixed, line.isInner else { return unsafe line.appendPlain(destination: module.text, ofNode: nil, to: &output) }
        unsafe line.withValue(line.index.hub.node) { unsafe line.appendPlain(destination: module.text, ofNode: $0, to: &output) }
    }

    /// Appends the answer to a node's question for `k8s/ca.crt`: a `once` line with the certificate as its content.
    /// - Parameter time: microseconds since 1970.
    package func appendCertificate(for line: Line, time: Int64, to output: inout [UInt8]) {
        output.append("{\"hub\":{\"kind\":\"once\",\"node\":")
        JSONText.appendString(line.value(line.index.hub.node), to: &output)
        output.append("},\"header\":{\"msg_id\":")
        JSONText.appendString(MessageID.random().utf8, to: &output)
        output.append(",\"parent_msg_id\":")
        JSONText.appendString(line.value(line.index.header.messageID), to: &output)
        output.append(",\"timestamp\":")
        output.append(decimal: time / 1000)
        output.append(
            "},\"route\":{\"source\":\"cloudhub\",\"group\":\"resource\",\"operation\":\"response\",\"resource\":\"k8s/ca.crt\"},\"content\":"
        )
        JSONText.appendString(certificate ?? [], to: &output)
        output.append("}\n")
    }
}
