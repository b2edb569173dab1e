// Subject alternative names (RFC 5280, 4.2.1.6): the two kinds that servers have.

internal import COpenSSL

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A name under which clients reach a server.
package enum SubjectName: Sendable, Hashable {
    /// Lower case, without a dot at the end; may begin with `*.`.
    case dns(String)
    /// 4 or 16 bytes.
    case address([UInt8])

    /// - Returns: nil when `text` is neither an IPv4 nor an IPv6 address.
    package static func address(parsing text: String) -> SubjectName? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if unsafe inet_pton(AF_INET, text, &bytes) == 1 { return .address(Array(bytes[..<4])) }
        if unsafe inet_pton(AF_INET6, text, &bytes) == 1 { return .address(bytes) }
        return nil
    }

    /// As OpenSSL's configuration writes it; the value holds no comma, because it is checked by then.
    var configuration: String {
        switch self {
        case .dns(let name): "DNS:\(name)"
        case .address(let bytes):
            "IP:" + (bytes.count == 4 ? bytes.map(String.init).joined(separator: ".") : Self.groups(bytes))
        }
    }

    /// The eight groups of an IPv6 address, not shortened.
    private static func groups(_ bytes: [UInt8]) -> String {
        stride(from: 0, to: bytes.count - 1, by: 2)
            .map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }
            .joined(separator: ":")
    }

    /// The DNS names and addresses of a certificate; names of other kinds are left out.
    /// - Parameter certificate: borrowed for this call.
    static func all(borrowing certificate: OpaquePointer) -> Set<SubjectName> {
        guard let data = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else {
            ERR_clear_error()
            return []
        }
        let stack = OpaquePointer(data)
        defer { unsafe GENERAL_NAMES_free(stack) }
        var names: Set<SubjectName> = []
        for position in 0..<max(0, unsafe OPENSSL_sk_num(stack)) {
            guard let item = unsafe OPENSSL_sk_value(stack, position) else { continue }
            var kind: CInt = 0
            guard let value = unsafe GENERAL_NAME_get0_value(item.assumingMemoryBound(to: GENERAL_NAME.self), &kind) else { continue }
            guard kind == GEN_DNS || kind == GEN_IPADD else { continue }
            let text = unsafe value.assumingMemoryBound(to: ASN1_STRING.self)
            guard let start = unsafe ASN1_STRING_get0_data(text) else { continue }
            let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: Int(max(0, ASN1_STRING_length(text)))))
            names.insert(kind == GEN_IPADD ? .address(bytes) : .dns(String(decoding: bytes, as: UTF8.self).lowercased()))
        }
        return names
    }
}

extension SubjectName: CustomStringConvertible {
    package var description: String { configuration }
}
