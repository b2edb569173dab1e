// What may stand in a server certificate.

internal import HubMessage

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

enum HostName {
    static func isAddress(_ text: String) -> Bool {
        var room = in6_addr()
        return unsafe inet_pton(AF_INET, text, &room) == 1 || inet_pton(AF_INET6, text, &room) == 1
    }

    /// An RFC 1123 name, also with `*.` before it, which is no address.
    static func isName(_ text: String) -> Bool {
        let name = text.lowercased()
        let host = name.hasPrefix("*.") ? String(name.dropFirst(2)) : name
        return NodeName.isValid(Array(host.utf8)) && !isAddress(host)
    }
}
