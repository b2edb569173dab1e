// Names of nodes: RFC 1123 subdomains, as Kubernetes checks them (validation.IsDNS1123Subdomain).

@usableFromInline package enum NodeName {
    /// Longest name, in bytes.
    @usableFromInline package static let maxLength = 253

    /// `name` is a dot-separated sequence of labels of lower-case letters, digits and inner hyphens, at most 253 bytes.
    @inlinable package static func isValid(_ name: some Collection<UInt8>) -> Bool {
        guard !name.isEmpty, name.count <= maxLength else { return false }
        var previous: UInt8 = 0x2e
        for byte in name {
            switch byte {
            case 0x61...0x7a, 0x30...0x39: break
            case 0x2d: if previous == 0x2e { return false }
            case 0x2e: if previous == 0x2e || previous == 0x2d { return false }
            default: return false
            }
            previous = byte
        }
        return previous != 0x2e && previous != 0x2d
    }
}
