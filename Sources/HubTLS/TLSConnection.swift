// One TLS connection as a machine without I/O: ciphertext goes in and out through two memory BIOs, so the socket stays in Swift.
// After any step, also after reads, there may be output: tickets, key updates and alerts. The caller drains it.

internal import COpenSSL

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The name that a client expects in the server's certificate.
package enum PeerName: Sendable, Equatable {
    /// Checked against the DNS names of the certificate, and sent as SNI.
    case dns(String)
    /// Checked against the IP addresses of the certificate.
    case address(String)
    /// Any certificate that verifies, whatever its names.
    case any
}

/// An `SSL` and its BIOs; used by one thread at a time.
@safe package struct TLSConnection: ~Copyable {
    package enum Read: Equatable {
        case bytes(Int)
        /// All input is used up.
        case needsInput
        /// The peer sent close_notify.
        case closed
    }

    /// Most plaintext in one TLS record (RFC 8446, 5.1).
    package static let maxRecord = 16_384

    /// For `TLSConnection+Peer.swift`.
    let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    private init(adopting ssl: OpaquePointer, input: OpaquePointer, output: OpaquePointer) {
        unsafe self.ssl = unsafe ssl
        unsafe self.input = unsafe input
        unsafe self.output = unsafe output
    }

    deinit {
        // Without this, freeing a connection that was not shut down by both sides takes its session out of the cache.
        unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        unsafe SSL_free(ssl)
    }

    /// The accepting side; it waits for the client's first bytes.
    package static func server(_ context: TLSContext) throws(TLSError) -> TLSConnection {
        let connection = try make(context)
        unsafe SSL_set_accept_state(connection.ssl)
        return connection
    }

    /// The connecting side; its first `handshake()` makes the first output.
    ///
    /// - Parameter identity: the certificate to show instead of the context's.
    /// - Parameter session: a session of an earlier connection to the same server.
    package static func client(
        _ context: TLSContext, peerName: PeerName, identity: TLSIdentity? = nil, session: TLSSession? = nil
    ) throws(TLSError) -> TLSConnection {
        let connection = try make(context)
        unsafe SSL_set_connect_state(connection.ssl)
        switch peerName {
        case .dns(let name):
            guard unsafe SSL_set1_host(connection.ssl, name) == 1, unsafe CHub_SSL_set_tlsext_host_name(connection.ssl, name) == 1 else {
                throw TLSError(.context, "OpenSSL refused the host name", drainErrorQueue())
            }
        case .address(let address):
            guard unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection.ssl), address) == 1 else {
                throw TLSError(.context, "OpenSSL refused the address", drainErrorQueue())
            }
        case .any: break
        }
        if let identity { try connection.use(identity) }
        if let session {
            guard unsafe SSL_set_session(connection.ssl, session.raw) == 1 else {
                throw TLSError(.context, "OpenSSL refused the session", drainErrorQueue())
            }
        }
        return connection
    }

    private static func make(_ context: TLSContext) throws(TLSError) -> TLSConnection {
        ERR_clear_error()
        guard let ssl = unsafe SSL_new(context.raw) else {
            throw TLSError(.allocation, "no memory for a TLS connection", drainErrorQueue())
        }
        guard let input = unsafe BIO_new(BIO_s_mem()), let output = unsafe BIO_new(BIO_s_mem()) else {
            unsafe SSL_free(ssl)
            throw TLSError(.allocation, "no memory for a BIO", drainErrorQueue())
        }
        // Takes over both BIOs; an empty one asks for a retry, it does not look ended.
        unsafe SSL_set_bio(ssl, input, output)
        return unsafe TLSConnection(adopting: ssl, input: input, output: output)
    }

    private borrowing func use(_ identity: TLSIdentity) throws(TLSError) {
        var isTaken = unsafe SSL_use_certificate(ssl, identity.chain[0].raw) == 1 && SSL_use_PrivateKey(ssl, identity.key.raw) == 1
        for certificate in identity.chain.dropFirst() {
            isTaken = unsafe isTaken && CHub_SSL_add1_chain_cert(ssl, certificate.raw) == 1
        }
        guard isTaken else { throw TLSError(.context, "OpenSSL refused the certificate", drainErrorQueue()) }
    }

    // MARK: Steps

    /// Takes ciphertext from the peer; the next `handshake()` or `read` uses it.
    package mutating func receive(_ ciphertext: UnsafeRawBufferPointer) throws(TLSError) {
        guard ciphertext.count > 0 else { return }
        guard let count = CInt(exactly: ciphertext.count), unsafe BIO_write(input, ciphertext.baseAddress, count) == count else {
            throw TLSError(.allocation, "no memory for input", drainErrorQueue())
        }
    }

    /// Goes on with the handshake.
    /// - Returns: whether it is complete; if not, it needs input.
    /// - Throws: `.handshake`; the alert for the peer is in the output.
    package mutating func handshake() throws(TLSError) -> Bool {
        ERR_clear_error()
        let result = unsafe SSL_do_handshake(ssl)
        if result == 1 { return true }
        let reason = unsafe SSL_get_error(ssl, result)
        if reason == SSL_ERROR_WANT_READ { return false }
        let verification = unsafe SSL_get_verify_result(ssl)
        if verification != X509_V_OK, let text = unsafe X509_verify_cert_error_string(verification) {
            throw TLSError(.handshake, unsafe "the peer's certificate does not verify: \(String(cString: text))", drainErrorQueue())
        }
        throw TLSError(.handshake, "TLS handshake failed", drainErrorQueue())
    }

    /// Decrypts at most one record, or the rest of one, into `space`, which must not be empty.
    package mutating func read(into space: UnsafeMutableRawBufferPointer) throws(TLSError) -> Read {
        // Most pieces of input are one whole record: to ask OpenSSL for a second one costs as much as a third of the first.
        if unsafe BIO_ctrl_pending(input) == 0, unsafe SSL_pending(ssl) == 0 { return .needsInput }
        Self.clearErrors()
        let result = unsafe SSL_read(ssl, space.baseAddress, CInt(clamping: space.count))
        if result > 0 { return .bytes(Int(result)) }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_ZERO_RETURN: return .closed
        default: throw TLSError(.protocolViolation, "TLS read failed", drainErrorQueue())
        }
    }

    /// Encrypts all of `plaintext` into the output. At most `maxRecord` bytes make one record.
    package mutating func write(_ plaintext: UnsafeRawBufferPointer) throws(TLSError) {
        guard plaintext.count > 0 else { return }
        Self.clearErrors()
        let result = unsafe SSL_write(ssl, plaintext.baseAddress, CInt(clamping: plaintext.count))
        guard result == plaintext.count else { throw TLSError(.protocolViolation, "TLS write failed", drainErrorQueue()) }
    }

    /// To clear an empty queue costs more than to see that it is empty.
    private static func clearErrors() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    /// Puts close_notify into the output, once. Reading may go on.
    package mutating func shutdown() {
        ERR_clear_error()
        _ = unsafe SSL_shutdown(ssl)
        ERR_clear_error()
    }

    // MARK: Output

    /// Ciphertext that waits for the peer, in bytes.
    package var outputCount: Int { unsafe BIO_ctrl_pending(output) }

    /// Gives all waiting ciphertext to `body` and forgets it. BIOs that grew large give their memory back.
    package mutating func drain(_ body: (UnsafeRawBufferPointer) -> Void) {
        guard outputCount > 0, let memory = unsafe CHub_BIO_get_mem_ptr(output) else { return }
        unsafe body(UnsafeRawBufferPointer(start: memory.pointee.data, count: memory.pointee.length))
        _ = unsafe CHub_BIO_reset(output)
    }

    /// Gives back what the BIOs grew to; for a moment without work.
    /// - Parameter kept: the capacity that a BIO may keep.
    package mutating func trim(keeping kept: Int = 4096) {
        unsafe Self.trim(input, kept)
        unsafe Self.trim(output, kept)
    }

    /// `BIO_reset` keeps the capacity for ever; an emptied buffer above `kept` is freed and grows anew when it is used.
    private static func trim(_ bio: OpaquePointer, _ kept: Int) {
        guard unsafe BIO_ctrl_pending(bio) == 0, let memory = unsafe CHub_BIO_get_mem_ptr(bio), unsafe memory.pointee.max > kept,
            let fresh = unsafe BUF_MEM_new()
        else { return }
        _ = unsafe CHub_BIO_set_mem_buf(bio, fresh, Int(BIO_CLOSE))
    }

    // MARK: Facts

    /// `TLSv1.3` or `TLSv1.2`.
    package var version: String { unsafe SSL_get_version(ssl).map { unsafe String(cString: $0) } ?? "" }

    package var isResumed: Bool { unsafe SSL_session_reused(ssl) == 1 }

    /// The session to resume later. With TLS 1.3 it comes after the handshake, with the first data from the server.
    package var session: TLSSession? {
        guard let raw = unsafe SSL_get1_session(ssl) else { return nil }
        let session = unsafe TLSSession(adopting: raw)
        return unsafe SSL_SESSION_is_resumable(raw) == 1 ? session : nil
    }
}
