// Subjects of certificates and of requests (X.501 Name), attribute by attribute, so that a policy sees all of them.

internal import COpenSSL

/// What an attribute of a name says.
package enum NameAttributeKind: Sendable, Equatable {
    case commonName
    case organization
    case country
    case province
    case locality
    /// Any other attribute, as a dotted object identifier.
    case other(String)

    fileprivate init(_ object: OpaquePointer) {
        switch unsafe OBJ_obj2nid(object) {
        case NID_commonName: self = .commonName
        case NID_organizationName: self = .organization
        case NID_countryName: self = .country
        case NID_stateOrProvinceName: self = .province
        case NID_localityName: self = .locality
        default:
            var text = [CChar](repeating: 0, count: 80)
            let length = Int(unsafe OBJ_obj2txt(&text, CInt(text.count), object, 1))
            self = .other(String(decoding: text.prefix(max(0, min(length, text.count - 1))).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
    }

    fileprivate var shortName: String {
        switch self {
        case .commonName: "CN"
        case .organization: "O"
        case .country: "C"
        case .province: "ST"
        case .locality: "L"
        case .other(let identifier): identifier
        }
    }
}

/// One attribute of a name.
package struct NameAttribute: Sendable, Equatable {
    package let kind: NameAttributeKind
    /// The value in UTF-8; a NUL inside stays a NUL. Nil when the value is no text.
    package let value: [UInt8]?

    package init(_ kind: NameAttributeKind, _ value: String) {
        self.kind = kind
        self.value = Array(value.utf8)
    }

    /// - Parameter entry: borrowed for this call.
    fileprivate init(borrowing entry: OpaquePointer) {
        if let object = unsafe X509_NAME_ENTRY_get_object(entry) {
            kind = unsafe NameAttributeKind(object)
        } else {
            kind = .other("")
        }
        var text: UnsafeMutablePointer<UInt8>?
        guard let data = unsafe X509_NAME_ENTRY_get_data(entry) else {
            value = nil
            return
        }
        let length = unsafe ASN1_STRING_to_UTF8(&text, data)
        guard length >= 0, let start = unsafe text else {
            ERR_clear_error()
            value = nil
            return
        }
        value = unsafe Array(UnsafeBufferPointer(start: start, count: Int(length)))
        unsafe CRYPTO_free(start, #fileID, CInt(#line))
    }

    /// The value is exactly `text`, byte for byte.
    package func says(_ text: String) -> Bool { value?.elementsEqual(text.utf8) ?? false }
}

enum DistinguishedName {
    /// All attributes, in order.
    /// - Parameter name: borrowed for this call.
    static func attributes(borrowing name: OpaquePointer) -> [NameAttribute] {
        var attributes: [NameAttribute] = []
        for position in 0..<max(0, unsafe X509_NAME_entry_count(name)) {
            if let entry = unsafe X509_NAME_get_entry(name, position) {
                attributes.append(unsafe NameAttribute(borrowing: entry))
            }
        }
        return attributes
    }

    /// Lends a new name made of `attributes`.
    static func with<Result>(
        _ attributes: [NameAttribute], _ body: (OpaquePointer) throws(TLSError) -> Result
    ) throws(TLSError) -> Result {
        ERR_clear_error()
        guard let name = unsafe X509_NAME_new() else { throw TLSError(.allocation, "no memory for a name", drainErrorQueue()) }
        defer { unsafe X509_NAME_free(name) }
        for attribute in attributes {
            let value = attribute.value ?? []
            guard let count = CInt(exactly: value.count),
                unsafe X509_NAME_add_entry_by_txt(name, attribute.kind.shortName, MBSTRING_UTF8, value, count, -1, 0) == 1
            else {
                throw TLSError(.certificate, "OpenSSL refused the name", drainErrorQueue())
            }
        }
        return try unsafe body(name)
    }
}

extension [NameAttribute] {
    /// The values of one kind, in order, as text.
    package func values(_ kind: NameAttributeKind) -> [String] {
        compactMap { attribute in
            attribute.kind == kind ? attribute.value.map { String(decoding: $0, as: UTF8.self) } : nil
        }
    }

    /// The subject that KubeEdge and Kubernetes give to node `name`.
    package static func node(_ name: String) -> [NameAttribute] {
        [NameAttribute(.organization, "system:nodes"), NameAttribute(.commonName, "system:node:\(name)")]
    }
}
