// The envelope's `object`: which Kubernetes object a message is about.

internal import HubMessage

/// The members of a checked JSON object `{"apiVersion","kind","namespace","name"}`.
struct ObjectIdentity {
    private(set) var apiVersion: [UInt8] = []
    private(set) var kind: [UInt8] = []
    private(set) var name: [UInt8] = []
    /// Nil for an object of the cluster: no namespace, an empty one, or `null`, which is how KubeEdge writes it in resource paths.
    private(set) var namespace: [UInt8]?

    /// - Parameter object: empty, or one JSON object that a scanner has passed.
    init(_ object: [UInt8]) {
        var reader = Reader(bytes: object)
        while let (key, value) = reader.next() {
            switch key {
            case Array("apiVersion".utf8): apiVersion = value ?? []
            case Array("kind".utf8): kind = value ?? []
            case Array("name".utf8): name = value ?? []
            case Array("namespace".utf8): namespace = value
            default: break
            }
        }
        if namespace == [] || namespace == Array("null".utf8) { namespace = nil }
    }

    /// Walks the members of the outermost object.
    private struct Reader {
        let bytes: [UInt8]
        private var at = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        /// The next key and, if it is a string, its value.
        mutating func next() -> (key: [UInt8], value: [UInt8]?)? {
            guard let key = string() else { return nil }
            // To the colon and beyond.
            while at < bytes.count, bytes[at] != 0x3a { at += 1 }
            at += 1
            while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
            guard at < bytes.count else { return nil }
            if bytes[at] == 0x22 { return (key, string()) }
            skipValue()
            return (key, nil)
        }

        /// The value of the next string from here.
        private mutating func string() -> [UInt8]? {
            while at < bytes.count, bytes[at] != 0x22 { at += 1 }
            guard at < bytes.count else { return nil }
            at += 1
            let start = at
            while at < bytes.count, bytes[at] != 0x22 { at += bytes[at] == 0x5c ? 2 : 1 }
            guard at < bytes.count else { return nil }
            at += 1
            return unsafe bytes.withUnsafeBytes { unsafe JSONText.unescape(UnsafeRawBufferPointer(rebasing: $0[start..<at - 1])) }
        }

        /// Skips a value that is no string, to the comma or brace after it.
        private mutating func skipValue() {
            var depth = 0
            while at < bytes.count {
                switch bytes[at] {
                case 0x22:
                    _ = string()
                    continue
                case 0x7b, 0x5b: depth += 1
                case 0x7d, 0x5d:
                    if depth == 0 { return }
                    depth -= 1
                case 0x2c: if depth == 0 { return }
                default: break
                }
                at += 1
            }
        }
    }
}
