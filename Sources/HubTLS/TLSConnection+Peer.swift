// Who the peer of a connection is, and whether it would still be let in.

internal import COpenSSL

extension TLSConnection {
    /// The peer's certificate, nil when it has none.
    package var peer: TLSPeer? {
        guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return nil }
        defer { unsafe X509_free(certificate) }
        return unsafe TLSPeer(borrowing: certificate)
    }

    /// The common name of the authority that the peer's certificate names; nil without certificate.
    package var peerIssuer: String? {
        guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return nil }
        defer { unsafe X509_free(certificate) }
        guard let name = unsafe X509_get_issuer_name(certificate) else { return nil }
        return unsafe DistinguishedName.attributes(borrowing: name).values(.commonName).first
    }

    /// Verifies the client's certificate once more, against the authorities of another context. OpenSSL keeps certificate and chain
    /// with the connection, so this needs no memory of its own, and judges as a new handshake would. Only the validity is left out:
    /// that a certificate expires ends no connection.
    ///
    /// - Throws: `.verification` with OpenSSL's reason.
    package borrowing func verifyPeer(by context: TLSContext) throws(TLSError) {
        ERR_clear_error()
        guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { throw TLSError(.verification, "there is no certificate") }
        defer { unsafe X509_free(certificate) }
        guard let verification = unsafe X509_STORE_CTX_new() else { throw TLSError(.allocation, "no memory", drainErrorQueue()) }
        defer { unsafe X509_STORE_CTX_free(verification) }
        let store = unsafe SSL_CTX_get_cert_store(context.raw)
        guard unsafe X509_STORE_CTX_init(verification, store, certificate, SSL_get_peer_cert_chain(ssl)) == 1 else {
            throw TLSError(.allocation, "no memory", drainErrorQueue())
        }
        _ = unsafe X509_STORE_CTX_set_purpose(verification, X509_PURPOSE_SSL_CLIENT)
        unsafe X509_STORE_CTX_set_flags(verification, UInt(X509_V_FLAG_NO_CHECK_TIME))
        guard unsafe X509_verify_cert(verification) == 1 else {
            let code = unsafe X509_STORE_CTX_get_error(verification)
            let reason = unsafe X509_verify_cert_error_string(Int(code)).map { unsafe String(cString: $0) } ?? "unknown reason"
            throw TLSError(.verification, reason, drainErrorQueue())
        }
    }
}
