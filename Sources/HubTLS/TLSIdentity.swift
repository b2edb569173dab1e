// A certificate chain and its private key, as OpenSSL holds them: shared by many contexts or connections.

internal import COpenSSL

/// What one side of a TLS connection proves itself with.
@safe package final class TLSIdentity: Sendable {
    let chain: [SharedCertificate]
    let key: SharedKey

    /// Reads a PEM certificate chain, leaf first, and the PEM private key of the leaf (SEC 1, PKCS #1 or PKCS #8, not encrypted).
    ///
    /// - Throws: `TLSError` with code `.certificate`, `.privateKey` or `.keyMismatch`.
    package init(certificates: [UInt8], privateKey: [UInt8]) throws(TLSError) {
        let chain = try SharedCertificate.readAll(pem: certificates)
        let key = try SharedKey(pem: privateKey)
        guard unsafe X509_check_private_key(chain[0].raw, key.raw) == 1 else {
            throw TLSError(.keyMismatch, "the private key does not belong to the certificate", drainErrorQueue())
        }
        self.chain = chain
        self.key = key
    }
}

/// One reference to an `X509`. OpenSSL counts references atomically and never changes a parsed certificate, so threads may share it.
@safe final class SharedCertificate: @unchecked Sendable {
    let raw: OpaquePointer

    private init(adopting raw: OpaquePointer) { unsafe self.raw = unsafe raw }

    deinit { unsafe X509_free(raw) }

    /// All certificates of a PEM text, at least one.
    static func readAll(pem: [UInt8]) throws(TLSError) -> [SharedCertificate] {
        ERR_clear_error()
        var found: [SharedCertificate] = []
        let source = try MemorySource(pem)
        while let raw = unsafe PEM_read_bio_X509(source.raw, nil, nil, nil) {
            found.append(unsafe SharedCertificate(adopting: raw))
        }
        let end = ERR_peek_last_error()
        guard !found.isEmpty else { throw TLSError(.certificate, "no PEM certificate found", drainErrorQueue()) }
        // The end of the text shows as one error, "no start line"; anything else is a damaged block.
        guard CHub_ERR_GET_LIB(end) == ERR_LIB_PEM, CHub_ERR_GET_REASON(end) == PEM_R_NO_START_LINE else {
            throw TLSError(.certificate, "a PEM certificate is damaged", drainErrorQueue())
        }
        ERR_clear_error()
        return found
    }
}

/// One reference to an `EVP_PKEY`, shared as certificates are.
@safe final class SharedKey: @unchecked Sendable {
    let raw: OpaquePointer

    init(pem: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let source = try MemorySource(pem)
        // The callback refuses a passphrase: the default one would ask on the terminal.
        guard let raw = unsafe PEM_read_bio_PrivateKey(source.raw, nil, { _, _, _, _ in -1 }, nil) else {
            throw TLSError(.privateKey, "no usable PEM private key found", drainErrorQueue())
        }
        unsafe self.raw = unsafe raw
    }

    deinit { unsafe EVP_PKEY_free(raw) }
}

/// A read-only memory BIO over a copy of some bytes.
@safe private struct MemorySource: ~Copyable {
    let raw: OpaquePointer

    init(_ bytes: [UInt8]) throws(TLSError) {
        guard let count = CInt(exactly: bytes.count), let raw = unsafe BIO_new(BIO_s_mem()) else {
            throw TLSError(.allocation, "no memory for a BIO", drainErrorQueue())
        }
        unsafe self.raw = unsafe raw
        _ = unsafe bytes.withUnsafeBytes { unsafe BIO_write(raw, $0.baseAddress, count) }
    }

    deinit { unsafe BIO_free_all(raw) }
}
