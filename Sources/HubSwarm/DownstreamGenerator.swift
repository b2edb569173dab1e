// Plain lines for the standard input of the hub: what a controller would write, with a time stamp that `sink` understands.

internal import HubMessage

/// Lines for nodes in turn: config maps that must be acknowledged, or device twins that are sent at most once.
package struct DownstreamGenerator: Sendable {
    package enum Lane: String, Sendable, CaseIterable {
        case ack
        case once
    }

    package var lane = Lane.ack
    package var prefix: String
    /// The number in the name of the first node.
    package var first: Int
    package var nodes: Int
    /// Objects per node; 0 makes each message an object of its own.
    package var keys: Int
    /// Bytes of one line, with its newline; at least what its fixed members need.
    package var size: Int
    /// Distinguishes the uids of one run from those of another.
    package var run: UInt32
    /// Resource version of the first message; each message has the next one.
    package var firstVersion: Int64
    private var random = FastRandom()
    private var made = 0

    package init(prefix: String, first: Int, nodes: Int, keys: Int, size: Int, run: UInt32, firstVersion: Int64) {
        self.prefix = prefix
        self.first = first
        self.nodes = nodes
        self.keys = keys
        self.size = size
        self.run = run
        self.firstVersion = firstVersion
    }

    /// Appends the next line with its newline.
    /// - Parameter now: microseconds since 1970.
    package mutating func appendNext(now: Int64, to output: inout [UInt8]) {
        let node = made % nodes
        let turn = made / nodes
        let start = output.count
        switch lane {
        case .ack: appendConfigMap(node, keys > 0 ? turn % keys : turn, now, from: start, &output)
        case .once: appendTwin(node, now, from: start, &output)
        }
        made += 1
    }

    private mutating func appendConfigMap(_ node: Int, _ key: Int, _ now: Int64, from start: Int, _ output: inout [UInt8]) {
        let version = firstVersion + Int64(made)
        appendHeader(now, &output)
        output.append(",\"resourceversion\":\"")
        output.append(decimal: version)
        output.append("\"},\"route\":{\"source\":\"edgecontroller\",\"group\":\"resource\",\"operation\":\"update\",\"resource\":\"node/")
        appendNode(node, &output)
        output.append("/default/configmap/cm-")
        output.append(decimal: Int64(key))
        output.append("\"},\"content\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"cm-")
        output.append(decimal: Int64(key))
        output.append("\",\"namespace\":\"default\",\"uid\":\"")
        appendUID(node, key, &output)
        output.append("\",\"resourceVersion\":\"")
        output.append(decimal: version)
        output.append("\"},\"data\":{\"sent\":\"")
        output.append(decimal: now)
        appendPadding("\",\"pad\":\"", "\"}}}\n", from: start, &output)
    }

    private mutating func appendTwin(_ node: Int, _ now: Int64, from start: Int, _ output: inout [UInt8]) {
        appendHeader(now, &output)
        output.append("},\"route\":{\"source\":\"devicecontroller\",\"group\":\"twin\",\"operation\":\"updated\",\"resource\":\"node/")
        appendNode(node, &output)
        output.append("/device/dev-0/twin/cloud_updated\"},\"content\":{\"event_id\":\"\",\"timestamp\":")
        output.append(decimal: now / 1000)
        output.append(",\"sent\":")
        output.append(decimal: now)
        appendPadding(",\"twin\":{\"pad\":{\"expected\":{\"value\":\"", "\"}}}}}\n", from: start, &output)
    }

    private mutating func appendHeader(_ now: Int64, _ output: inout [UInt8]) {
        output.append("{\"header\":{\"msg_id\":\"")
        let high = random.next() & 0xffff_ffff_ffff_0fff | 0x4000
        let low = random.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        appendUUID(high, low, &output)
        output.append("\",\"timestamp\":")
        output.append(decimal: now / 1000)
    }

    /// A UUID that holds the run, the node and the object.
    private func appendUID(_ node: Int, _ key: Int, _ output: inout [UInt8]) {
        let high = UInt64(run) << 32 | UInt64(node >> 12 & 0xffff) << 16 | 0x4000 | UInt64(node & 0xfff)
        appendUUID(high, 0x8000 << 48 | UInt64(key) & 0xffff_ffff_ffff, &output)
    }

    private func appendUUID(_ high: UInt64, _ low: UInt64, _ output: inout [UInt8]) {
        for (word, shift, digits) in [(high, 32, 8), (high, 16, 4), (high, 0, 4), (low, 48, 4), (low, 0, 12)] as [(UInt64, UInt64, Int)] {
            if output.last != 0x22 { output.append(0x2d) }
            for digit in stride(from: digits - 1, through: 0, by: -1) {
                let value = UInt8(truncatingIfNeeded: word >> (shift + UInt64(digit) * 4)) & 15
                output.append(value < 10 ? 0x30 + value : 0x57 + value)
            }
        }
    }

    private func appendNode(_ node: Int, _ output: inout [UInt8]) {
        output.append(contentsOf: prefix.utf8)
        output.append(decimal: Int64(first + node))
    }

    private func appendPadding(_ before: StaticString, _ after: StaticString, from start: Int, _ output: inout [UInt8]) {
        output.append(before)
        let used = output.count - start + after.utf8CodeUnitCount
        if used < size { output.append(contentsOf: repeatElement(0x78, count: size - used)) }
        output.append(after)
    }
}
