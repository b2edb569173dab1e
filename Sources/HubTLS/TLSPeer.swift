// What a completed handshake tells about the other side.

internal import COpenSSL

/// The verified certificate of the peer.
package struct TLSPeer: Sendable, Equatable {
    /// All CN values of the subject, in order.
    package let commonNames: [String]
    /// All O values of the subject, in order.
    package let organizations: [String]
    package let der: [UInt8]

    /// - Parameter certificate: borrowed for this call.
    init?(borrowing certificate: OpaquePointer) {
        guard let subject = unsafe X509_get_subject_name(certificate) else { return nil }
        commonNames = unsafe Self.values(NID_commonName, of: subject)
        organizations = unsafe Self.values(NID_organizationName, of: subject)
        let length = unsafe i2d_X509(certificate, nil)
        guard length > 0 else { return nil }
        der = unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
            var next = buffer.baseAddress
            count = unsafe Int(max(i2d_X509(certificate, &next), 0))
        }
    }

    /// The values as UTF-8. An embedded NUL stays a NUL, so that it can match no name.
    private static func values(_ kind: CInt, of subject: OpaquePointer) -> [String] {
        var found: [String] = []
        var position = unsafe X509_NAME_get_index_by_NID(subject, kind, -1)
        while position >= 0 {
            var bytes: UnsafeMutablePointer<UInt8>?
            if let entry = unsafe X509_NAME_get_entry(subject, position), let data = unsafe X509_NAME_ENTRY_get_data(entry) {
                let length = unsafe ASN1_STRING_to_UTF8(&bytes, data)
                if length >= 0, let start = unsafe bytes {
                    found.append(unsafe String(decoding: UnsafeBufferPointer(start: start, count: Int(length)), as: UTF8.self))
                    unsafe CRYPTO_free(start, #fileID, CInt(#line))
                }
            }
            position = unsafe X509_NAME_get_index_by_NID(subject, kind, position)
        }
        return found
    }
}

/// Fired through the pipeline by `TLSHandler`, once, before the first plaintext.
package struct TLSHandshakeCompleted: Sendable, Equatable {
    /// Nil when the peer sent no certificate, or nobody asked for one.
    package let peer: TLSPeer?
    /// The handshake resumed an earlier session; the peer was verified then.
    package let isResumed: Bool
    /// As OpenSSL names it: `TLSv1.3`.
    package let version: String
}
