// Whom a connection comes from, as far as that is worth a bound of its own.

package import NIOCore

/// An IPv4 address counts for itself, an IPv6 address for its /64, which one host owns as a whole.
package struct AddressKey: Hashable, Sendable {
    private let bits: UInt64
    private let isIPv6: Bool

    package init(_ address: SocketAddress?) {
        switch address {
        case .v4(let address): self.init(Self.bytes(address.address.sin_addr))
        case .v6(let address): self.init(Self.bytes(address.address.sin6_addr))
        case .unixDomainSocket, nil: self.init([])
        }
    }

    /// - Parameter bytes: 4 or 16, in the order of the network.
    package init(_ bytes: [UInt8]) {
        let isMapped = bytes.count == 16 && bytes.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
        isIPv6 = bytes.count == 16 && !isMapped
        bits = (isMapped ? bytes[12...] : bytes.prefix(8)).reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func bytes<Address>(_ address: Address) -> [UInt8] {
        unsafe withUnsafeBytes(of: address) { unsafe Array($0) }
    }
}
