// OpenSSL's PEM functions read from and write to a BIO; here that is a piece of memory, which OpenSSL cleanses when it is freed.

internal import COpenSSL

/// An owned memory BIO.
@safe struct MemoryBIO: ~Copyable {
    let raw: OpaquePointer

    private init(adopting raw: OpaquePointer) { unsafe self.raw = unsafe raw }

    deinit { unsafe BIO_free_all(raw) }

    /// A BIO that holds a copy of `bytes`.
    static func holding(_ bytes: some Sequence<UInt8>) throws(TLSError) -> MemoryBIO {
        ERR_clear_error()
        guard let raw = unsafe BIO_new(BIO_s_mem()) else {
            throw TLSError(.allocation, "no memory for a BIO", drainErrorQueue())
        }
        let bio = unsafe MemoryBIO(adopting: raw)
        var copy = Array(bytes)
        defer { Secret.cleanse(&copy) }
        guard let count = CInt(exactly: copy.count) else { throw TLSError(.limit, "too much data for a BIO") }
        if count > 0 {
            let written = unsafe copy.withUnsafeBytes { unsafe BIO_write(raw, $0.baseAddress, count) }
            guard written == count else { throw TLSError(.allocation, "no memory for a BIO", drainErrorQueue()) }
        }
        return bio
    }

    /// What has been written and not yet read.
    var contents: [UInt8] {
        guard let memory = unsafe CHub_BIO_get_mem_ptr(raw), let data = unsafe memory.pointee.data else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: data, count: memory.pointee.length))
    }
}
