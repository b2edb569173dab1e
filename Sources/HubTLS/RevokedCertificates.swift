// Making a certificate revocation list (RFC 5280, section 5), for programs that check one.

internal import COpenSSL

package struct RevokedCertificates: Sendable {
    /// A serial number in hexadecimal digits, and when it was revoked, in seconds since 1970.
    package var serials: [(serial: String, time: Int64)] = []
    /// Seconds since 1970.
    package var thisUpdate: Int64
    package var nextUpdate: Int64

    package init(thisUpdate: Int64, nextUpdate: Int64) {
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
    }

    /// The list, signed by `issuer` with its key, in DER. Its number is the time of its making, so that it grows.
    package func signed(by issuer: Certificate, _ key: PrivateKey) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        guard let list = unsafe X509_CRL_new() else { throw TLSError(.allocation, "no memory for a CRL", drainErrorQueue()) }
        defer { unsafe X509_CRL_free(list) }
        guard unsafe X509_CRL_set_version(list, Int(X509_CRL_VERSION_2)) == 1,
            unsafe X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer.raw)) == 1
        else { throw failure("issuer") }
        try unsafe withTime(thisUpdate) { (time) throws(TLSError) in
            guard unsafe X509_CRL_set1_lastUpdate(list, time) == 1 else { throw failure("time") }
        }
        try unsafe withTime(nextUpdate) { (time) throws(TLSError) in
            guard unsafe X509_CRL_set1_nextUpdate(list, time) == 1 else { throw failure("time") }
        }
        for entry in serials { try unsafe add(entry.serial, entry.time, to: list) }
        guard unsafe X509_CRL_sort(list) == 1 else { throw failure("order") }
        try unsafe addExtensions(list, issuer)
        guard unsafe X509_CRL_sign(list, key.raw, key.digest) > 0 else { throw failure("signature") }
        let length = unsafe i2d_X509_CRL(list, nil)
        guard length > 0 else { throw failure("encoding") }
        return unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
            var next = buffer.baseAddress
            count = unsafe Int(max(i2d_X509_CRL(list, &next), 0))
        }
    }

    private func add(_ serial: String, _ time: Int64, to list: OpaquePointer) throws(TLSError) {
        var number: OpaquePointer?
        guard unsafe BN_hex2bn(&number, serial) > 0, let number = unsafe number else { throw failure("serial number") }
        defer { unsafe BN_free(number) }
        guard let integer = unsafe BN_to_ASN1_INTEGER(number, nil) else { throw failure("serial number") }
        defer { unsafe ASN1_INTEGER_free(integer) }
        guard let entry = unsafe X509_REVOKED_new() else { throw failure("entry") }
        do throws(TLSError) {
            try unsafe withTime(time) { (time) throws(TLSError) in
                guard unsafe X509_REVOKED_set_serialNumber(entry, integer) == 1, unsafe X509_REVOKED_set_revocationDate(entry, time) == 1,
                    unsafe X509_CRL_add0_revoked(list, entry) == 1
                else { throw failure("entry") }
            }
        } catch {
            unsafe X509_REVOKED_free(entry)
            throw error
        }
    }

    private func addExtensions(_ list: OpaquePointer, _ issuer: Certificate) throws(TLSError) {
        guard let number = unsafe ASN1_INTEGER_new() else { throw failure("number") }
        defer { unsafe ASN1_INTEGER_free(number) }
        guard unsafe ASN1_INTEGER_set_int64(number, thisUpdate) == 1,
            unsafe X509_CRL_add1_ext_i2d(list, NID_crl_number, UnsafeMutableRawPointer(number), 0, 0) == 1
        else { throw failure("number") }
        guard unsafe X509_get0_subject_key_id(issuer.raw) != nil else { return }
        var context = unsafe X509V3_CTX()
        unsafe X509V3_set_ctx(&context, issuer.raw, nil, nil, list, 0)
        guard let item = unsafe X509V3_EXT_conf_nid(nil, &context, NID_authority_key_identifier, "keyid") else {
            throw failure("extension")
        }
        defer { unsafe X509_EXTENSION_free(item) }
        guard unsafe X509_CRL_add_ext(list, item, -1) == 1 else { throw failure("extension") }
    }

    private func withTime(
        _ seconds: Int64, _ body: (UnsafeMutablePointer<ASN1_TIME>) throws(TLSError) -> Void
    ) throws(TLSError) {
        guard let time = unsafe ASN1_TIME_set(nil, Int(seconds)) else { throw failure("time") }
        defer { unsafe ASN1_TIME_free(time) }
        try unsafe body(time)
    }

    private func failure(_ what: String) -> TLSError { TLSError(.certificate, "cannot make a CRL: \(what)", drainErrorQueue()) }
}

extension Certificate {
    /// Its key usage, if it has one, lets it sign CRLs (RFC 5280, 4.2.1.3).
    package var maySignLists: Bool { unsafe X509_get_key_usage(raw) & UInt32(KU_CRL_SIGN) != 0 }
}
