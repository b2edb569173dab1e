// What the rules of `hub-dispatch down` ask about one plain line.

internal import HubMessage

/// A plain line and the value of its resource; both are borrowed, so it lives inside one call.
@safe struct DownstreamMessage {
    let path: ResourcePath
    private let line: Line
    private let resource: UnsafeRawBufferPointer

    init(_ line: Line, _ resource: UnsafeRawBufferPointer) {
        self.line = line
        unsafe self.resource = unsafe resource
        path = unsafe ResourcePath(resource)
    }

    @inline(__always) private func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: resource[range])
    }

    @inline(__always) private func segment(_ range: Range<Int>, is text: StaticString) -> Bool {
        unsafe JSONText.equal(bytes(range), text)
    }

    private func inner(endsIn text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        let start = unsafe resource.count - length
        guard start >= path.prefix, unsafe start == path.prefix || resource[start - 1] == 0x2f else { return false }
        return unsafe segment(start..<resource.count, is: text)
    }

    @inline(__always) private func source(is text: StaticString) -> Bool { line.equals(line.index.route.source, text) }
    @inline(__always) private func operation(is text: StaticString) -> Bool { line.equals(line.index.route.operation, text) }

    var hasValidNode: Bool { unsafe NodeName.isValid(bytes(path.node)) }

    /// Rule 2: messages of the edge manager that concern the cloud.
    var isForCloud: Bool {
        guard source(is: "edgemgr") else { return false }
        func names(_ text: StaticString) -> Bool {
            segment(path.first, is: text) || segment(path.second, is: text) || segment(path.third, is: text)
        }
        if operation(is: "get") { return names("membership") || names("twin") || names("auth_info") }
        if operation(is: "delta") || operation(is: "document") { return names("twin") }
        return operation(is: "deleted") && names("node")
    }

    /// Rule 3: sent at most once, because the edge never acknowledges it or the next one replaces it.
    var isOnce: Bool {
        if segment(path.first, is: "membership") { return true }
        let type = path.second
        if segment(type, is: "podlist") || segment(type, is: "serviceaccounttoken") || segment(type, is: "event") { return true }
        if inner(endsIn: "twin/cloud_updated") { return true }
        if unsafe segment(path.prefix..<resource.count, is: "k8s/ca.crt") { return true }
        if line.equals(line.index.route.group, "user") || source(is: "taskmanager") || source(is: "nodeupgradejobcontroller") {
            return true
        }
        let isResponse = operation(is: "response")
        if isResponse { if !hasUID { return true } } else if hasOnceOperation { return true }
        guard source(is: "edgecontroller") else { return false }
        for name: StaticString in ["lease", "nodepatch", "podpatch", "podstatus", "certificatesigningrequest"]
        where segment(type, is: name) { return true }
        if segment(type, is: "node") { return !operation(is: "update") }
        return segment(type, is: "pod") && isResponse
    }

    private var hasOnceOperation: Bool {
        for name: StaticString in [
            "createvolume", "deletevolume", "controllerpublishvolume", "controllerunpublishvolume", "applicationResponse",
        ] where operation(is: name) { return true }
        return false
    }

    private var hasUID: Bool { line.index.content.uid.count > 0 }

    private var isDelete: Bool { operation(is: "delete") }

    /// Rule 5: it deletes, so no version is compared.
    private var isForced: Bool { isDelete || line.index.content.isDeleting }

    /// Rule 4: why a message that must be acknowledged cannot be.
    var reasonToRefuse: String? {
        if line.index.header.messageID.count == 0 { return "no msg_id" }
        guard line.equals(line.index.route.group, "resource") else { return "an edge acknowledges only group 'resource'" }
        guard isDelete || operation(is: "update") || operation(is: "insert") || operation(is: "response") else {
            return "an edge acknowledges only insert, update, delete and response"
        }
        // A delete may do with its path, if there is one.
        guard unsafe hasUID || isDelete && path.prefix < resource.count else { return "no content.metadata.uid" }
        let version = line.index.header.resourceVersion
        if version.count == 0 { return isForced ? nil : "no resourceversion" }
        return unsafe line.withValue(version) { unsafe ResourceVersion.isValid($0) } ? nil : "the resourceversion is no decimal number"
    }

    // MARK: Envelopes

    func appendOnce(to output: inout [UInt8]) {
        line.appendInner(cuttingResource: path.prefix, to: &output, envelopeOfAtMost: path.node.count + Self.words) { tail in
            start("once", &tail)
            tail.append(0x7d)
        }
    }

    func appendAck(to output: inout [UInt8]) {
        let index = line.index
        let content = index.content
        // The fields are copied as they stand in the line, each once. Of the resource at most the whole and its segments.
        let fields =
            content.uid.count + content.name.count + content.apiVersion.count + content.kind.count + index.header.resourceVersion.count
        let longest = index.route.resource.isEscaped ? JSONText.mostQuoted : 1
        let room = unsafe fields + 2 * longest * resource.count + path.node.count + Self.words
        line.appendInner(cuttingResource: path.prefix, to: &output, envelopeOfAtMost: room) { tail in
            start("ack", &tail)
            tail.append(",\"key\":")
            if hasUID {
                quote(index.content.uid, &tail)
            } else {
                // KubeEdge's edge controller sends deletes without a uid; the path is all that names the object.
                unsafe quote(path.prefix..<resource.count, &tail)
            }
            if index.header.resourceVersion.count > 0 {
                tail.append(",\"version\":")
                quote(index.header.resourceVersion, &tail)
            }
            if isForced { tail.append(",\"force\":true") }
            if index.header.parentID.count > 0 || operation(is: "response") { tail.append(",\"reply\":true") }
            tail.append(",\"object\":{\"apiVersion\":")
            quote(index.content.apiVersion, &tail)
            tail.append(",\"kind\":")
            if index.content.kind.count > 0 { quote(index.content.kind, &tail) } else { quote(path.second, &tail) }
            tail.append(",\"namespace\":")
            quote(path.first, &tail)
            tail.append(",\"name\":")
            if path.third.isEmpty { quote(index.content.name, &tail) } else { quote(path.third, &tail) }
            tail.append("}}")
        }
    }

    /// More than all names and signs of an envelope.
    private static let words = 256

    @inline(__always) private func start(_ kind: StaticString, _ tail: inout ByteTail) {
        tail.append("\"hub\":{\"kind\":\"")
        tail.append(kind)
        tail.append("\",\"node\":\"")
        unsafe tail.append(bytes(path.node))
        tail.append(0x22)
    }

    /// A string of the line, as it was written there.
    @inline(__always) private func quote(_ field: Field, _ tail: inout ByteTail) {
        tail.append(0x22)
        if field.isPresent { unsafe tail.append(line.raw(field)) }
        tail.append(0x22)
    }

    /// A part of the resource's value.
    @inline(__always) private func quote(_ range: Range<Int>, _ tail: inout ByteTail) {
        guard !line.index.route.resource.isEscaped else { return unsafe JSONText.appendString(bytes(range), to: &tail) }
        tail.append(0x22)
        unsafe tail.append(bytes(range))
        tail.append(0x22)
    }
}
