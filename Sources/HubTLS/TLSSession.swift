// A session that a client can resume: the next handshake with the same server costs a third.

internal import COpenSSL

/// One reference to an `SSL_SESSION`; OpenSSL counts references atomically and does not change an established session.
@safe package final class TLSSession: @unchecked Sendable {
    let raw: OpaquePointer

    init(adopting raw: OpaquePointer) { unsafe self.raw = unsafe raw }

    deinit { unsafe SSL_SESSION_free(raw) }
}
