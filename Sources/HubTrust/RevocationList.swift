// `revoked.jsonl`: which certificates are refused before they expire. Written by `hub-certs revoke`, read by `hub-wsserve` and
// `hub-certs serve`; one JSON object per line:
//
//     {"node":"edge-7","until":1795406829,"ban":false,"time":"2026-11-24T20:47:09Z"}
//     {"node":"edge-8","serial":"4f0c…","until":1795406829,"ban":false,"time":"2026-11-24T20:47:09Z"}
//
// The first line refuses every certificate of the node that begins at `until` or before. What is issued to the node afterwards begins
// later, so a node that joins anew is let in, and with `ban` it cannot. The second one refuses one certificate.
//
// Why a list of nodes and not a CRL (RFC 5280, section 5), which `hub-certs crl` makes for others to check: a CRL names serial numbers,
// and those that a CloudCore issued before its authority was taken over are not known; CloudCore's authority may not sign a CRL at all
// (its key usage lacks cRLSign), and OpenSSL refuses such a one; and a CRL has a time by which it must be replaced, after which
// nobody gets in. This list does not expire.

internal import HubMessage
package import HubTLS

/// Certificates that are refused, by node.
package struct RevocationList: Sendable, Equatable {
    package struct Entry: Sendable, Equatable {
        package let node: String
        /// One certificate, in lower-case hexadecimal digits; nil for all that begin at `until` or before.
        package let serial: String?
        /// Seconds since 1970.
        package let until: Int64
        /// No certificate is issued to the node again.
        package let isBanned: Bool

        package init(node: String, serial: String? = nil, until: Int64, isBanned: Bool = false) {
            self.node = node
            self.serial = serial
            self.until = until
            self.isBanned = isBanned
        }

        /// The entry as a line, with its newline.
        package var line: [UInt8] {
            var line = Array("{\"node\":".utf8)
            JSONText.appendString(node.utf8, to: &line)
            if let serial {
                line.append(contentsOf: ",\"serial\":".utf8)
                JSONText.appendString(serial.utf8, to: &line)
            }
            line.append(contentsOf: ",\"until\":\(until),\"ban\":\(isBanned),\"time\":\"\(Timestamp.rfc3339(until))\"}\n".utf8)
            return line
        }
    }

    /// A line of the file that is no entry. The whole file is refused then: one that was skipped would let somebody in.
    package struct Malformed: Error, Sendable, Equatable {
        package let line: Int

        package init(line: Int) { self.line = line }
    }

    /// Largest file that is read, in bytes; about 200,000 entries.
    package static let maxFile = 16 << 20

    private var nodes: [String: [Entry]] = [:]

    package init() {}

    /// Reads the file's content; empty lines are skipped.
    package init(_ content: [UInt8]) throws(Malformed) {
        for (number, line) in content.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() where !line.isEmpty {
            guard let object = FlatJSON(line), case .string(let node)? = object["node"], NodeName.isValid(Array(node.utf8)),
                case .number(let text)? = object["until"], let until = Int64(text)
            else { throw Malformed(line: number + 1) }
            var serial: String?
            switch object["serial"] {
            case nil: break
            case .string(let text): serial = text
            default: throw Malformed(line: number + 1)
            }
            switch object["ban"] {
            case nil: add(Entry(node: node, serial: serial, until: until))
            case .bool(let isBanned): add(Entry(node: node, serial: serial, until: until, isBanned: isBanned))
            default: throw Malformed(line: number + 1)
            }
        }
    }

    /// All entries, by node.
    package var entries: [Entry] { nodes.keys.sorted().flatMap { nodes[$0] ?? [] } }

    package var count: Int { nodes.count }

    /// The file's content.
    package var text: [UInt8] { entries.flatMap(\.line) }

    /// Adds an entry. One about all certificates of a node takes the place of an earlier one; a ban stays until `remove`.
    package mutating func add(_ entry: Entry) {
        var list = nodes[entry.node] ?? []
        if let serial = entry.serial {
            if !list.contains(where: { $0.serial == serial }) { list.append(entry) }
        } else {
            let old = list.first { $0.serial == nil }
            list.removeAll { $0.serial == nil }
            list.append(
                Entry(node: entry.node, until: max(entry.until, old?.until ?? .min), isBanned: entry.isBanned || old?.isBanned ?? false))
        }
        nodes[entry.node] = list
    }

    /// - Returns: whether there was an entry of the node.
    package mutating func remove(_ node: String) -> Bool { nodes.removeValue(forKey: node) != nil }

    /// Something is said about the node.
    package func concerns(_ node: String) -> Bool { nodes[node] != nil }

    /// The certificate is refused for the node.
    package func refuses(_ facts: CertificateFacts, of node: String) -> Bool {
        nodes[node]?.contains { $0.serial.map { $0 == facts.serial } ?? (facts.notBefore <= $0.until) } ?? false
    }

    package func isBanned(_ node: String) -> Bool { nodes[node]?.contains(where: \.isBanned) ?? false }

    /// A certificate for the node must begin after this, in seconds since 1970.
    package func bound(for node: String) -> Int64? { nodes[node]?.first { $0.serial == nil }?.until }
}
