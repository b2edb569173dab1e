// Certificate requests (PKCS #10, RFC 2986): reading one from a peer, and making one as a client.

internal import COpenSSL

/// The owner of an `X509_REQ`.
@safe package struct CertificateRequest: ~Copyable {
    private let raw: OpaquePointer

    private init(adopting raw: OpaquePointer) { unsafe self.raw = unsafe raw }

    deinit { unsafe X509_REQ_free(raw) }

    /// - Throws: `.request` when `der` is not exactly one request. Its signature is not checked yet.
    package static func read(der: [UInt8]) throws(TLSError) -> CertificateRequest {
        ERR_clear_error()
        var used = 0
        let parsed = unsafe der.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var next = bytes.baseAddress
            let parsed = unsafe d2i_X509_REQ(nil, &next, bytes.count)
            used = unsafe next.map { unsafe $0 - (bytes.baseAddress ?? $0) } ?? 0
            return unsafe parsed
        }
        guard let raw = unsafe parsed else { throw TLSError(.request, "the certificate request is malformed", drainErrorQueue()) }
        let request = unsafe CertificateRequest(adopting: raw)
        guard used == der.count else { throw TLSError(.request, "there are bytes after the certificate request") }
        return request
    }

    /// All attributes of the subject, in order.
    package var subject: [NameAttribute] {
        guard let name = unsafe X509_REQ_get_subject_name(raw) else { return [] }
        return unsafe DistinguishedName.attributes(borrowing: name)
    }

    /// The key that the certificate is to hold; nil when its algorithm is not known or the key is malformed.
    package var publicKey: PublicKey? {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let key = unsafe X509_REQ_get_pubkey(raw) else { return nil }
        return unsafe PublicKey(adopting: key)
    }

    /// It was signed with the private half of its own key.
    package var isSignatureValid: Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let key = unsafe X509_REQ_get0_pubkey(raw) else { return false }
        return unsafe X509_REQ_verify(raw, key) == 1
    }

    /// Makes a signed request.
    ///
    /// - Parameters:
    ///   - subject: for a node, `.node(name)`.
    ///   - names: subject alternative names to ask for.
    /// - Returns: the request in DER.
    package static func make(subject: [NameAttribute], names: [SubjectName] = [], key: PrivateKey) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        guard let raw = unsafe X509_REQ_new() else {
            throw TLSError(.allocation, "no memory for a certificate request", drainErrorQueue())
        }
        let request = unsafe CertificateRequest(adopting: raw)
        guard unsafe X509_REQ_set_version(raw, Int(X509_REQ_VERSION_1)) == 1, unsafe X509_REQ_set_pubkey(raw, key.raw) == 1 else {
            throw failure("version or key")
        }
        try unsafe DistinguishedName.with(subject) { (name) throws(TLSError) in
            guard unsafe X509_REQ_set_subject_name(raw, name) == 1 else { throw failure("subject") }
        }
        if !names.isEmpty { try request.ask(for: names) }
        guard unsafe X509_REQ_sign(raw, key.raw, key.digest) > 0 else { throw failure("signature") }
        let length = unsafe i2d_X509_REQ(raw, nil)
        guard length > 0 else { throw failure("encoding") }
        return unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
            var next = buffer.baseAddress
            count = unsafe Int(max(i2d_X509_REQ(raw, &next), 0))
        }
    }

    private borrowing func ask(for names: [SubjectName]) throws(TLSError) {
        var context = unsafe X509V3_CTX()
        unsafe X509V3_set_ctx(&context, nil, nil, raw, nil, 0)
        let value = names.map(\.configuration).joined(separator: ",")
        guard let item = unsafe X509V3_EXT_conf_nid(nil, &context, NID_subject_alt_name, value) else { throw Self.failure("names") }
        defer { unsafe X509_EXTENSION_free(item) }
        guard let stack = unsafe OPENSSL_sk_new_null() else { throw Self.failure("names") }
        defer { unsafe OPENSSL_sk_free(stack) }
        guard unsafe OPENSSL_sk_push(stack, UnsafeRawPointer(item)) > 0, unsafe X509_REQ_add_extensions(raw, stack) == 1 else {
            throw Self.failure("names")
        }
    }

    private static func failure(_ what: String) -> TLSError {
        TLSError(.request, "cannot make a certificate request: \(what)", drainErrorQueue())
    }
}
