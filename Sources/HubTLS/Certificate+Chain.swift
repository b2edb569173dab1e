// What links a certificate to those above and below it.

internal import COpenSSL

extension Certificate {
    /// The subject in DER, for comparison.
    package var subjectName: [UInt8] { unsafe Self.der(X509_get_subject_name(raw)) }

    /// The issuer's subject in DER.
    package var issuerName: [UInt8] { unsafe Self.der(X509_get_issuer_name(raw)) }

    private static func der(_ name: OpaquePointer?) -> [UInt8] {
        let length = unsafe i2d_X509_NAME(name, nil)
        guard length > 0 else { return [] }
        return unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
            var next = buffer.baseAddress
            count = unsafe Int(max(i2d_X509_NAME(name, &next), 0))
        }
    }

    /// How many authorities may stand between this one and a leaf (RFC 5280, 4.2.1.9); nil without such a bound.
    package var pathLength: Int? {
        let length = unsafe X509_get_pathlen(raw)
        return length < 0 ? nil : length
    }

    /// - Throws: `.certificate` when the algorithm of the key is not known.
    package var publicKey: PublicKey {
        get throws(TLSError) {
            ERR_clear_error()
            guard let key = unsafe X509_get_pubkey(raw) else {
                throw TLSError(.certificate, "the certificate's key cannot be used", drainErrorQueue())
            }
            return unsafe PublicKey(adopting: key)
        }
    }

    /// Several certificates as one PEM text.
    package static func pem(_ certificates: [Certificate]) throws(TLSError) -> [UInt8] {
        var text: [UInt8] = []
        for certificate in certificates { text.append(contentsOf: try certificate.pem) }
        return text
    }
}
