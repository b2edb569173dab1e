// What a replay changes in a line: nodes, versions, ids. All else is copied as it came; `content` is not looked at.

package import HubMessage

/// One way of rewriting a line.
package struct LineChange: Sendable {
    /// The node's new name; nil keeps it.
    package var to: [UInt8]?
    /// What is added to versions.
    package var versionShift: UInt64 = 0
    /// What is put behind message ids, and behind the ids that answers name.
    package var idSuffix: [UInt8] = []
    /// The new timestamp, milliseconds since 1970.
    package var timestamp: Int64?

    package init() {}

    /// There is nothing to change.
    package var isEmpty: Bool { to == nil && versionShift == 0 && idSuffix.isEmpty && timestamp == nil }

    /// Appends `line` as it is to be.
    package func append(_ line: Line, to output: inout [UInt8]) {
        guard !isEmpty else { return line.appendUnchanged(to: &output) }
        var edits: [LineEdit] = []
        let index = line.index
        if let to, let old = Self.node(of: line) {
            if index.hub.node.isPresent, line.value(index.hub.node) == old { edits.append(LineEdit(index.hub.node, to)) }
            rename(line, index.route.resource, old, to, &edits)
        }
        if versionShift > 0 {
            for field in [index.header.resourceVersion, index.hub.version] {
                if let shifted = Self.sum(line.value(field), versionShift) { edits.append(LineEdit(field, shifted)) }
            }
        }
        for field in [index.header.messageID, index.header.parentID] where !idSuffix.isEmpty && field.count > 0 {
            edits.append(LineEdit(inserting: idSuffix, at: field.end))
        }
        if let timestamp, index.header.timestamp.isPresent {
            edits.append(LineEdit(index.header.timestamp, Array("\(timestamp)".utf8)))
        }
        line.append(edits, to: &output)
    }

    /// The node of the envelope, or the segment after `node` in the resource of a plain line; nil when there is none.
    package static func node(of line: Line) -> [UInt8]? {
        if line.isInner { return line.index.hub.node.isPresent ? line.value(line.index.hub.node) : nil }
        var segments = line.value(line.index.route.resource).split(separator: 0x2f, omittingEmptySubsequences: false)[...]
        while let segment = segments.popFirst() {
            if segment.elementsEqual("node".utf8) { return segments.first.map { [UInt8]($0) } }
        }
        return nil
    }

    /// A resource names the node in more than one place: `node/edge-0/kube-node-lease/lease/edge-0`.
    private func rename(_ line: Line, _ field: Field, _ old: [UInt8], _ new: [UInt8], _ edits: inout [LineEdit]) {
        guard field.isPresent, !old.isEmpty else { return }
        let segments = line.value(field).split(separator: 0x2f, omittingEmptySubsequences: false)
        guard segments.contains(where: { $0.elementsEqual(old) }) else { return }
        let renamed = segments.map { $0.elementsEqual(old) ? new[...] : $0 }
        var quoted: [UInt8] = []
        JSONText.appendString(renamed.joined(separator: [0x2f]), to: &quoted)
        edits.append(LineEdit(field, [UInt8](quoted[1..<quoted.count - 1])))
    }

    /// The decimal sum; nil when `digits` is no number.
    static func sum(_ digits: [UInt8], _ summand: UInt64) -> [UInt8]? {
        guard ResourceVersion.isValid(digits) else { return nil }
        var result = digits
        var carry = summand
        for position in result.indices.reversed() where carry > 0 {
            let (sum, overflow) = carry.addingReportingOverflow(UInt64(result[position] - 0x30))
            // The summand is below 2^63, so there is room for one digit.
            guard !overflow else { return nil }
            result[position] = 0x30 + UInt8(sum % 10)
            carry = sum / 10
        }
        return carry > 0 ? Array("\(carry)".utf8) + result : result
    }
}
