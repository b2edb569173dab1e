// X.509 certificates: reading and examining them. `CertificateTemplate` makes them.

internal import COpenSSL

/// One reference to an `X509`. OpenSSL counts references atomically and never changes a parsed certificate, so threads may share it.
@safe package final class Certificate: @unchecked Sendable {
    package enum Purpose: Sendable {
        case server
        case client
        case any
    }

    let raw: OpaquePointer

    /// The certificate as it came.
    package let der: [UInt8]

    private init(adopting raw: OpaquePointer, der: [UInt8]) {
        unsafe self.raw = unsafe raw
        self.der = der
    }

    deinit { unsafe X509_free(raw) }

    /// - Throws: `.certificate` when `der` is not exactly one certificate.
    package static func read(der: [UInt8]) throws(TLSError) -> Certificate {
        ERR_clear_error()
        var used = 0
        let parsed = unsafe der.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var next = bytes.baseAddress
            let parsed = unsafe d2i_X509(nil, &next, bytes.count)
            used = unsafe next.map { unsafe $0 - (bytes.baseAddress ?? $0) } ?? 0
            return unsafe parsed
        }
        guard let raw = unsafe parsed else { throw TLSError(.certificate, "the certificate is malformed", drainErrorQueue()) }
        let certificate = unsafe Certificate(adopting: raw, der: der)
        guard used == der.count else { throw TLSError(.certificate, "there are bytes after the certificate") }
        return certificate
    }

    /// The first certificate of a PEM text.
    /// - Throws: `.certificate` when there is none, or when it is malformed.
    package static func read(pem: some Sequence<UInt8>) throws(TLSError) -> Certificate {
        guard let block = try PEMBlock.read(pem).first(where: { $0.label.hasSuffix("CERTIFICATE") }) else {
            throw TLSError(.certificate, "there is no PEM certificate")
        }
        return unsafe try read(der: block.der.withBytes { unsafe Array($0) })
    }

    /// The certificate as a PEM block.
    package var pem: [UInt8] {
        get throws(TLSError) { try PEMBlock(label: "CERTIFICATE", der: der).text }
    }

    /// SHA-256 of the DER form; 32 bytes.
    package var sha256: [UInt8] {
        get throws(TLSError) { try Digest.sha256(der) }
    }

    package var subject: [NameAttribute] {
        guard let name = unsafe X509_get_subject_name(raw) else { return [] }
        return unsafe DistinguishedName.attributes(borrowing: name)
    }

    /// The serial number in lower-case hexadecimal digits, as `openssl x509 -serial` has it in upper case.
    package var serial: String { unsafe Self.serial(borrowing: raw) }

    /// - Parameter raw: borrowed for this call.
    static func serial(borrowing raw: OpaquePointer) -> String {
        guard let number = unsafe X509_get0_serialNumber(raw), let data = unsafe ASN1_STRING_get0_data(number) else { return "" }
        let bytes = unsafe Array(UnsafeBufferPointer(start: data, count: Int(max(0, ASN1_STRING_length(number)))))
        return Digest.hex(bytes)
    }

    /// Seconds since 1970; nil when the certificate holds no valid time.
    package var notBefore: Int64? { unsafe Self.seconds(X509_get0_notBefore(raw)) }

    /// Seconds since 1970; nil when the certificate holds no valid time.
    package var notAfter: Int64? { unsafe Self.seconds(X509_get0_notAfter(raw)) }

    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        guard let epoch = unsafe ASN1_TIME_set(nil, 0) else { return nil }
        defer { unsafe ASN1_TIME_free(epoch) }
        var days: CInt = 0
        var seconds: CInt = 0
        guard let time = unsafe time, unsafe ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else {
            ERR_clear_error()
            return nil
        }
        return Int64(days) * 86_400 + Int64(seconds)
    }

    /// DNS names and addresses of the subject.
    package var names: Set<SubjectName> { unsafe SubjectName.all(borrowing: raw) }

    /// It may sign certificates: basic constraints say so, or it is self-signed in the old way.
    package var isAuthority: Bool { unsafe X509_check_ca(raw) != 0 }

    /// `key` is the private half of this certificate's key.
    package func belongs(to key: PrivateKey) -> Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        return unsafe X509_check_private_key(raw, key.raw) == 1
    }

    /// Checks that `authority` issued this certificate, that both are valid, and that it may be used for `purpose`.
    ///
    /// The authority need not be self-signed, as in Go's certificate pools.
    /// - Parameter time: seconds since 1970; nil means now.
    /// - Throws: `.verification` with OpenSSL's reason.
    package func verify(issuedBy authority: Certificate, purpose: Purpose, at time: Int64? = nil) throws(TLSError) {
        ERR_clear_error()
        guard let store = unsafe X509_STORE_new() else { throw TLSError(.allocation, "no memory", drainErrorQueue()) }
        defer { unsafe X509_STORE_free(store) }
        guard unsafe X509_STORE_add_cert(store, authority.raw) == 1,
            unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN)) == 1,
            let context = unsafe X509_STORE_CTX_new()
        else { throw TLSError(.allocation, "no memory", drainErrorQueue()) }
        defer { unsafe X509_STORE_CTX_free(context) }
        guard unsafe X509_STORE_CTX_init(context, store, raw, nil) == 1 else {
            throw TLSError(.allocation, "no memory", drainErrorQueue())
        }
        if let time { unsafe X509_STORE_CTX_set_time(context, 0, Int(time)) }
        switch purpose {
        case .server: _ = unsafe X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER)
        case .client: _ = unsafe X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT)
        case .any: break
        }
        guard unsafe X509_verify_cert(context) == 1 else {
            let code = unsafe X509_STORE_CTX_get_error(context)
            let reason = unsafe X509_verify_cert_error_string(Int(code)).map { unsafe String(cString: $0) } ?? "unknown reason"
            throw TLSError(.verification, "the certificate does not verify: \(reason)", drainErrorQueue())
        }
    }
}
