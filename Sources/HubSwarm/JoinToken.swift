// The join token: `hex(SHA-256(CA in DER))`, a dot, and what the hub's certificate service accepts as a bearer token
// (KubeEdge: edge/pkg/edgehub/certificate, `applyCerts`, which checks the CA against the part before the first dot).

package struct JoinToken: Sendable, Equatable, CustomStringConvertible {
    /// SHA-256 of the CA's DER form; 32 bytes.
    package let caHash: [UInt8]
    /// Goes into `Authorization: Bearer …`.
    package let bearer: String

    /// Parses the text of a token file; white space around it is ignored.
    package init(_ text: some Sequence<UInt8>) throws(SwarmError) {
        let bytes = Array(text).drop { $0 <= 0x20 }
        let trimmed = bytes.prefix { $0 > 0x20 }
        guard let dot = trimmed.firstIndex(of: 0x2e) else { throw Self.malformed }
        let digits = trimmed[..<dot]
        let rest = trimmed[(dot + 1)...]
        guard digits.count == 64, !rest.isEmpty, bytes.dropFirst(trimmed.count).allSatisfy({ $0 <= 0x20 }) else { throw Self.malformed }
        var hash: [UInt8] = []
        var high: UInt8?
        for digit in digits {
            guard let value = Self.hexValue(digit) else { throw Self.malformed }
            if let upper = high {
                hash.append(upper << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        // What goes into a header must not end it.
        guard rest.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { throw Self.malformed }
        caHash = hash
        bearer = String(decoding: rest, as: UTF8.self)
    }

    /// Never the token itself.
    package var description: String { "join token" }

    private static let malformed = SwarmError(.token, "the token is not of the form <64 hexadecimal digits>.<rest>")

    private static func hexValue(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x57
        case 0x41...0x46: digit - 0x37
        default: nil
        }
    }
}
