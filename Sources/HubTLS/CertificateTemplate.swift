// Making certificates: an authority for itself, or one signed by an authority.

internal import COpenSSL

/// What a new certificate says.
package struct CertificateTemplate: Sendable {
    package enum Role: Sendable {
        /// Signs certificates. There is no path length: an authority certifies the key of its successor when it is replaced, and clients
        /// that trust this one alone then see one authority more in every chain.
        case authority
        /// `serverAuth`
        case server
        /// `clientAuth`
        case client
    }

    package var role: Role
    package var subject: [NameAttribute]
    package var names: [SubjectName]
    /// Seconds since 1970.
    package var notBefore: Int64
    /// Seconds since 1970.
    package var notAfter: Int64

    package init(_ role: Role, subject: [NameAttribute], names: [SubjectName] = [], notBefore: Int64, notAfter: Int64) {
        self.role = role
        self.subject = subject
        self.names = names
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    /// A certificate signed with its own key.
    package func selfSigned(_ key: PrivateKey) throws(TLSError) -> Certificate {
        try make(key.publicKey, issuer: nil, key)
    }

    /// A certificate for `subjectKey`, signed by `issuer` with its key.
    package func signed(for subjectKey: PublicKey, by issuer: Certificate, _ key: PrivateKey) throws(TLSError) -> Certificate {
        try make(subjectKey, issuer: issuer, key)
    }

    private func make(_ subjectKey: PublicKey, issuer: Certificate?, _ key: PrivateKey) throws(TLSError) -> Certificate {
        ERR_clear_error()
        guard let raw = unsafe X509_new() else { throw TLSError(.allocation, "no memory for a certificate", drainErrorQueue()) }
        defer { unsafe X509_free(raw) }
        guard unsafe X509_set_version(raw, Int(X509_VERSION_3)) == 1, unsafe X509_set_pubkey(raw, subjectKey.raw) == 1 else {
            throw failure("version or key")
        }
        try unsafe setSerial(raw)
        try unsafe setTime(notBefore, raw, X509_set1_notBefore)
        try unsafe setTime(notAfter, raw, X509_set1_notAfter)
        try unsafe DistinguishedName.with(subject) { (name) throws(TLSError) in
            guard unsafe X509_set_subject_name(raw, name) == 1 else { throw failure("subject") }
        }
        guard unsafe X509_set_issuer_name(raw, X509_get_subject_name(issuer.map { unsafe $0.raw } ?? raw)) == 1 else {
            throw failure("issuer")
        }
        try unsafe addExtensions(raw, issuer: issuer.map { unsafe $0.raw } ?? raw)
        guard unsafe X509_sign(raw, key.raw, key.digest) > 0 else { throw failure("signature") }
        let length = unsafe i2d_X509(raw, nil)
        guard length > 0 else { throw failure("encoding") }
        let der = unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
            var next = buffer.baseAddress
            count = unsafe Int(max(i2d_X509(raw, &next), 0))
        }
        return try Certificate.read(der: der)
    }

    /// 159 random bits, positive and never zero (RFC 5280, 4.1.2.2: at most 20 octets).
    private func setSerial(_ raw: OpaquePointer) throws(TLSError) {
        var bytes = try Digest.random(20)
        bytes[0] = bytes[0] & 0x7f | 0x40
        guard let number = unsafe BN_bin2bn(bytes, CInt(bytes.count), nil) else { throw failure("serial number") }
        defer { unsafe BN_free(number) }
        guard unsafe BN_to_ASN1_INTEGER(number, X509_get_serialNumber(raw)) != nil else { throw failure("serial number") }
    }

    private func setTime(
        _ seconds: Int64, _ raw: OpaquePointer, _ set: (OpaquePointer?, UnsafePointer<ASN1_TIME>?) -> CInt
    ) throws(TLSError) {
        guard let time = unsafe ASN1_TIME_set(nil, Int(seconds)) else { throw failure("validity") }
        defer { unsafe ASN1_TIME_free(time) }
        guard unsafe set(raw, time) == 1 else { throw failure("validity") }
    }

    private func addExtensions(_ raw: OpaquePointer, issuer: OpaquePointer) throws(TLSError) {
        var extensions: [(CInt, String)] = []
        switch role {
        case .authority:
            extensions.append((NID_basic_constraints, "critical,CA:TRUE"))
            extensions.append((NID_key_usage, "critical,keyCertSign,cRLSign"))
        case .server, .client:
            extensions.append((NID_basic_constraints, "critical,CA:FALSE"))
            extensions.append((NID_key_usage, "critical,digitalSignature"))
            extensions.append((NID_ext_key_usage, role == .server ? "serverAuth" : "clientAuth"))
        }
        extensions.append((NID_subject_key_identifier, "hash"))
        // An authority may lack a key identifier to refer to, if it was taken over; its own certificate needs no such reference.
        if unsafe issuer != raw, unsafe X509_get0_subject_key_id(issuer) != nil {
            extensions.append((NID_authority_key_identifier, "keyid"))
        }
        if !names.isEmpty {
            extensions.append((NID_subject_alt_name, names.map(\.configuration).joined(separator: ",")))
        }
        for (kind, value) in extensions {
            var context = unsafe X509V3_CTX()
            unsafe X509V3_set_ctx(&context, issuer, raw, nil, nil, 0)
            guard let item = unsafe X509V3_EXT_conf_nid(nil, &context, kind, value) else { throw failure("extension \(value)") }
            defer { unsafe X509_EXTENSION_free(item) }
            guard unsafe X509_add_ext(raw, item, -1) == 1 else { throw failure("extension \(value)") }
        }
    }

    private func failure(_ what: String) -> TLSError {
        TLSError(.certificate, "cannot make a certificate: \(what)", drainErrorQueue())
    }
}
