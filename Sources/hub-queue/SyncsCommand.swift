// hub-queue syncs: what each node has, in the form in which KubeEdge keeps it (reliablesyncs.kubeedge.io/v1alpha1, type.go).

internal import ArgumentParser
internal import HubCommand
internal import HubMessage
internal import HubStore

struct SyncsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "syncs",
        abstract: "Print the acknowledged versions as ObjectSync and ClusterObjectSync objects, one per line.",
        discussion: """
            An object is named <node>.<uid>; status.objectResourceVersion is the version
            that the node acknowledged. The file may be in use by a hub-queue.

            EXAMPLE
              hub-queue syncs --state queue.db | kubectl apply -f -

            \(ExitStatus.help([.success, .usage, .noInput, .inputOutput, .temporary, .noPermission, .configuration]))
            """)

    @OptionGroup var state: StateOption
    @Option(help: ArgumentHelp("Only this node.", valueName: "node")) var node: String?

    private static let chunk = 1000

    func run() throws {
        let reader = try state.openReader()
        var names: [Int64: [UInt8]] = [:]
        for known in try reporting({ () throws(StoreError) in try reader.nodes() }) { names[known.id] = known.name }
        var text = StateText()
        var after: (node: Int64, key: [UInt8]) = (0, [])
        while true {
            let rows = try reporting { () throws(StoreError) in try reader.acknowledged(after: after.node, after.key, limit: Self.chunk) }
            for row in rows {
                // A node that became known since is left for the next look.
                guard let name = names[row.node], node == nil || name.elementsEqual((node ?? "").utf8) else { continue }
                try append(row, name, &text)
            }
            guard let last = rows.last else { break }
            after = (last.node, last.key)
        }
        try text.flush()
    }

    private func append(_ row: StateReader.Acknowledged, _ name: [UInt8], _ text: inout StateText) throws(Failure) {
        let object = ObjectIdentity(row.object)
        text.open()
        text.member("apiVersion", text: "reliablesyncs.kubeedge.io/v1alpha1".utf8)
        text.member("kind", text: (object.namespace == nil ? "ClusterObjectSync" : "ObjectSync").utf8)
        text.open("metadata")
        text.member("name", text: name + [0x2e] + row.key)
        if let namespace = object.namespace { text.member("namespace", text: namespace) }
        text.close()
        text.open("spec")
        if !object.apiVersion.isEmpty { text.member("objectAPIVersion", text: object.apiVersion) }
        if !object.kind.isEmpty { text.member("objectKind", text: object.kind) }
        if !object.name.isEmpty { text.member("objectName", text: object.name) }
        text.close()
        text.open("status")
        text.member("objectResourceVersion", text: row.version)
        text.close()
        try text.endLine()
    }
}
