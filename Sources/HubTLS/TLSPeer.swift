// What a completed handshake tells about the other side.

internal import COpenSSL

/// The verified certificate of the peer.
package struct TLSPeer: Sendable, Equatable {
    /// All CN values of the subject, in order.
    package let commonNames: [String]
    /// All O values of the subject, in order.
    package let organizations: [String]
    package let der: [UInt8]
    package let facts: CertificateFacts

    package init(
        commonNames: [String], organizations: [String], der: [UInt8],
        facts: CertificateFacts = CertificateFacts(serial: "", notBefore: 0, notAfter: .max)
    ) {
        self.commonNames = commonNames
        self.organizations = organizations
        self.der = der
        self.facts = facts
    }

    /// - Parameter certificate: borrowed for this call.
    init?(borrowing certificate: OpaquePointer) {
        guard let subject = unsafe X509_get_subject_name(certificate) else { return nil }
        let attributes = unsafe DistinguishedName.attributes(borrowing: subject)
        commonNames = Self.texts(attributes, .commonName)
        organizations = Self.texts(attributes, .organization)
        facts = unsafe CertificateFacts(borrowing: certificate)
        let length = unsafe i2d_X509(certificate, nil)
        guard length > 0 else { return nil }
        der = unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
            var next = buffer.baseAddress
            count = unsafe Int(max(i2d_X509(certificate, &next), 0))
        }
    }

    /// A value that is no text still counts, so that whoever expects one name sees two. An embedded NUL stays, and matches no name.
    private static func texts(_ attributes: [NameAttribute], _ kind: NameAttributeKind) -> [String] {
        attributes.filter { $0.kind == kind }.map { String(decoding: $0.value ?? [0], as: UTF8.self) }
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
