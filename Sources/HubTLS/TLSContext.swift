// The owner of an SSL_CTX: what all connections of one server, or of one client, have in common.
// TLS 1.2 or later, no renegotiation, no compression; of TLS 1.2 what Go, and so EdgeCore, speaks too and RFC 9325 recommends: forward
// secrecy (ECDHE) and authenticated encryption (GCM, ChaCha20-Poly1305). Resumption is stateful (design: "Figures to beat"): with SSL_OP_NO_TICKET
// a ticket is a key into this context's cache, so a new context, made after a reload, resumes nothing that the old one verified.

internal import COpenSSL

/// What a server proves, whom it trusts, and how many sessions it remembers.
package struct TLSServerSettings: Sendable {
    package enum ClientCertificate: Sendable, Equatable {
        /// None is asked for.
        case none
        /// One is asked for; if it comes, it must verify.
        case optional
        /// The handshake fails without one that verifies.
        case required
    }

    package var identity: TLSIdentity
    /// PEM of the authorities that sign client certificates; needed unless `clientCertificate` is `none`.
    package var clientAuthorities: [UInt8]
    package var clientCertificate: ClientCertificate
    /// A client certificate that has expired, and verifies otherwise, passes the handshake; the application judges it.
    package var admitsExpiredClients = false
    /// Most sessions that can be resumed; about 6 KB each with its client certificate, once the connection is gone.
    package var sessionCacheSize = 10_000
    /// Seconds for which a session can be resumed. It is for nodes that lose their link for a while; the cache ends with the process.
    package var sessionLifetime = 600

    package init(identity: TLSIdentity, clientAuthorities: [UInt8] = [], clientCertificate: ClientCertificate = .none) {
        self.identity = identity
        self.clientAuthorities = clientAuthorities
        self.clientCertificate = clientCertificate
    }
}

/// An `SSL_CTX`. It is not changed after its factory returns, and OpenSSL itself locks its reference count and its session cache:
/// any thread may make connections from it.
@safe package final class TLSContext: @unchecked Sendable {
    let raw: OpaquePointer
    let isServer: Bool

    private init(adopting raw: OpaquePointer, isServer: Bool) {
        unsafe self.raw = unsafe raw
        self.isServer = isServer
    }

    deinit { unsafe SSL_CTX_free(raw) }

    /// A context for the accepting side.
    ///
    /// - Throws: `TLSError` with code `.certificate` when the authorities do not parse, `.context` when OpenSSL refuses a setting.
    package static func server(_ settings: TLSServerSettings) throws(TLSError) -> TLSContext {
        let context = try make(isServer: true)
        try context.use(settings.identity)
        guard unsafe SSL_CTX_set_session_id_context(context.raw, "hub", 3) == 1 else { throw failure("session id context") }
        _ = unsafe CHub_SSL_CTX_set_session_cache_mode(context.raw, Int(SSL_SESS_CACHE_SERVER))
        _ = unsafe CHub_SSL_CTX_sess_set_cache_size(context.raw, settings.sessionCacheSize)
        _ = unsafe SSL_CTX_set_timeout(context.raw, settings.sessionLifetime)
        _ = unsafe SSL_CTX_set_options(context.raw, CHub_SSL_OP_NO_TICKET)
        // Each ticket is a cache entry, and a client that comes back uses one.
        guard unsafe SSL_CTX_set_num_tickets(context.raw, 1) == 1 else { throw failure("number of tickets") }
        switch settings.clientCertificate {
        case .none: unsafe SSL_CTX_set_verify(context.raw, SSL_VERIFY_NONE, nil)
        case .optional: unsafe SSL_CTX_set_verify(context.raw, SSL_VERIFY_PEER, nil)
        case .required: unsafe SSL_CTX_set_verify(context.raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        }
        if settings.admitsExpiredClients {
            unsafe SSL_CTX_set_verify(context.raw, SSL_CTX_get_verify_mode(context.raw), admitExpiredLeaf)
        }
        if settings.clientCertificate != .none {
            for authority in try context.trust(settings.clientAuthorities) {
                guard unsafe SSL_CTX_add_client_CA(context.raw, authority.raw) == 1 else { throw failure("client authorities") }
            }
        }
        return context
    }

    /// A context for the connecting side.
    ///
    /// - Parameter authorities: PEM of the only authorities that a server certificate may come from; nil accepts any server.
    /// - Parameter identity: the client certificate; a connection can bring its own instead.
    package static func client(authorities: [UInt8]?, identity: TLSIdentity? = nil) throws(TLSError) -> TLSContext {
        let context = try make(isServer: false)
        if let identity { try context.use(identity) }
        _ = unsafe CHub_SSL_CTX_set_session_cache_mode(context.raw, Int(SSL_SESS_CACHE_OFF))
        if let authorities {
            _ = try context.trust(authorities)
            unsafe SSL_CTX_set_verify(context.raw, SSL_VERIFY_PEER, nil)
        } else {
            unsafe SSL_CTX_set_verify(context.raw, SSL_VERIFY_NONE, nil)
        }
        return context
    }

    /// Of TLS 1.3, by preference. OpenSSL would begin with AES-256 and SHA-384, which every handshake and every record pays for.
    private static let suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
    /// Of TLS 1.2, in the same order.
    private static let ciphers = """
        ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
        ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
        """
    /// Without SHA-1 and SHA-224. Keys of RSA serve as well as those of EC: certificates of KubeEdge may have either.
    private static let signatures = """
        ECDSA+SHA256:ed25519:RSA-PSS+SHA256:ECDSA+SHA384:ECDSA+SHA512:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512
        """
    /// Without the large finite fields, which would let a client choose how much work it causes.
    private static let groups = "X25519:P-256:P-384:P-521"
    /// Certificates between a peer's and the authority that it leads to, at most. The peer sends them.
    private static let maxIntermediates: CInt = 3

    private static func make(isServer: Bool) throws(TLSError) -> TLSContext {
        ERR_clear_error()
        guard let raw = unsafe SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method()) else {
            throw TLSError(.allocation, "no memory for a TLS context", drainErrorQueue())
        }
        let context = unsafe TLSContext(adopting: raw, isServer: isServer)
        guard unsafe CHub_SSL_CTX_set_min_proto_version(context.raw, TLS1_2_VERSION) == 1 else { throw failure("TLS version") }
        _ = unsafe SSL_CTX_set_options(
            context.raw, CHub_SSL_OP_NO_RENEGOTIATION | CHub_SSL_OP_NO_COMPRESSION | CHub_SSL_OP_CIPHER_SERVER_PREFERENCE)
        guard unsafe SSL_CTX_set_ciphersuites(context.raw, suites) == 1, unsafe SSL_CTX_set_cipher_list(context.raw, ciphers) == 1 else {
            throw failure("ciphers")
        }
        guard unsafe CHub_SSL_CTX_set1_sigalgs_list(context.raw, signatures) == 1 else { throw failure("signature algorithms") }
        guard unsafe CHub_SSL_CTX_set1_groups_list(context.raw, groups) == 1 else { throw failure("groups") }
        // Idle connections give their record buffers back (2 × 16 KiB); a retried write may come from another address.
        // The chain sent is the chain given: OpenSSL would add the authorities that it trusts, which every peer has, and would keep.
        _ = unsafe CHub_SSL_CTX_set_mode(
            context.raw, Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) | Int(SSL_MODE_NO_AUTO_CHAIN))
        // A peer's chain is read into memory before it is verified.
        _ = unsafe CHub_SSL_CTX_set_max_cert_list(context.raw, 32 << 10)
        return context
    }

    private func use(_ identity: TLSIdentity) throws(TLSError) {
        guard unsafe SSL_CTX_use_certificate(raw, identity.chain[0].raw) == 1, unsafe SSL_CTX_use_PrivateKey(raw, identity.key.raw) == 1
        else {
            throw Self.failure("certificate and key")
        }
        for certificate in identity.chain.dropFirst() {
            guard unsafe CHub_SSL_CTX_add1_chain_cert(raw, certificate.raw) == 1 else { throw Self.failure("certificate chain") }
        }
    }

    /// Trusts the authorities of `pem`, self-signed or not, as Go's certificate pools do.
    private func trust(_ pem: [UInt8]) throws(TLSError) -> [Certificate] {
        let authorities = try Certificate.readAll(pem: pem)
        guard let store = unsafe SSL_CTX_get_cert_store(raw) else { throw Self.failure("certificate store") }
        for authority in authorities {
            guard unsafe X509_STORE_add_cert(store, authority.raw) == 1 else { throw Self.failure("authority") }
        }
        guard unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN)) == 1 else { throw Self.failure("verification flags") }
        unsafe SSL_CTX_set_verify_depth(raw, Self.maxIntermediates)
        return authorities
    }

    private static func failure(_ what: String) -> TLSError {
        TLSError(.context, "OpenSSL refused the \(what)", drainErrorQueue())
    }
}

/// A verification callback: the expiry of the leaf, and nothing else, is passed over.
private func admitExpiredLeaf(_ result: CInt, _ context: OpaquePointer?) -> CInt {
    guard result != 1, unsafe X509_STORE_CTX_get_error_depth(context) == 0,
        unsafe X509_STORE_CTX_get_error(context) == X509_V_ERR_CERT_HAS_EXPIRED
    else { return result }
    unsafe X509_STORE_CTX_set_error(context, X509_V_OK)
    return 1
}
