// What nodes say about upgrades and other tasks, as messages for `taskmanager`.
//
// Follows KubeEdge v1.23.1 cloud/pkg/cloudhub/servers/httpserver/nodetask: source and group `cloudhub`, resource
// `task/<task>/node/<node>`, the task type as operation, a `NodeTaskResponse` as content. Differs: `/nodeupgrade` names task and node in
// the resource (KubeEdge reads both before it has decoded the body, so they are empty there), a body must not speak for another node,
// and it must be a flat object of strings.

internal import HubMessage

package struct TaskReport: Sendable, Equatable {
    package enum Refusal: Error, Sendable, Equatable {
        /// The body is no such report.
        case malformed
        /// The body names another node than the certificate.
        case otherNode
    }

    /// The members of `NodeTaskResponse`, in its order.
    private static let fields = ["NodeName", "State", "Event", "Action", "Reason", "Time", "ExternalMessage"]

    package let node: String
    package let task: String
    package let type: String
    private let content: [(name: String, value: String)]

    package static func == (left: TaskReport, right: TaskReport) -> Bool {
        left.line(id: "", time: 0) == right.line(id: "", time: 0)
    }

    /// The body of `POST /task/{type}/name/{task}/node/{node}/status`.
    package init(status body: [UInt8], node: String, type: String, task: String) throws(Refusal) {
        let values = try Self.strings(Self.fields, in: body)
        guard ["", node].contains(values[0]) else { throw .otherNode }
        self.node = node
        self.task = task
        self.type = type
        content = Array(zip(Self.fields, values)).map { (name: $0.0, value: $0.1) }
    }

    /// The body of `POST /nodeupgrade`, an old `NodeUpgradeJobResponse`.
    package init(upgrade body: [UInt8], node: String) throws(Refusal) {
        let values = try Self.strings(["UpgradeID", "NodeName", "Status", "Reason"], in: body)
        guard values[1] == node else { throw .otherNode }
        guard Self.isSegment(values[0]) else { throw .malformed }
        self.node = node
        task = values[0]
        type = "upgrade"
        // The pairs are KubeEdge's, also the last one: its state machine knows both as a failed task.
        let (event, action) =
            switch values[2] {
            case "upgrade_failed_rollback_success": ("Rollback", "Failure")
            case "upgrade_failed_rollback_failed": ("Rollback", "Success")
            default: ("Upgrade", "Success")
            }
        let known = ["NodeName": node, "Event": event, "Action": action, "Reason": values[3]]
        content = Self.fields.map { (name: $0, value: known[$0] ?? "") }
    }

    /// A task id or type: it becomes a segment of a resource path.
    package static func isSegment(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
                default: false
                }
            }
    }

    private static func strings(_ names: [String], in body: [UInt8]) throws(Refusal) -> [String] {
        guard let object = FlatJSON(body) else { throw .malformed }
        var values: [String] = []
        for name in names {
            switch object.goField(name) {
            case .string(let text): values.append(text)
            case nil, .null: values.append("")
            case .number, .bool: throw .malformed
            }
        }
        return values
    }

    /// The message in plain form, with its newline.
    ///
    /// - Parameter time: milliseconds since 1970.
    package func line(id: String, time: Int64) -> [UInt8] {
        var line: [UInt8] = []
        line.append("{\"header\":{\"msg_id\":")
        JSONText.appendString(id.utf8, to: &line)
        line.append(",\"timestamp\":")
        line.append(decimal: time)
        line.append("},\"route\":{\"source\":\"cloudhub\",\"destination\":\"taskmanager\",\"group\":\"cloudhub\",\"operation\":")
        JSONText.appendString(type.utf8, to: &line)
        line.append(",\"resource\":")
        JSONText.appendString("task/\(task)/node/\(node)".utf8, to: &line)
        line.append("},\"content\":{")
        for (position, member) in content.enumerated() {
            if position > 0 { line.append(0x2c) }
            JSONText.appendString(member.name.utf8, to: &line)
            line.append(0x3a)
            JSONText.appendString(member.value.utf8, to: &line)
        }
        line.append("}}\n")
        return line
    }
}
