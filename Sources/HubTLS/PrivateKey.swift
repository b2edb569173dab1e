// Private keys in the forms that KubeEdge and its scripts write: SEC 1 (`EC PRIVATE KEY`), PKCS #1 and PKCS #8, not encrypted.

internal import COpenSSL

/// One reference to an `EVP_PKEY` with its private half, and the PEM block that it came from. Neither is ever changed.
@safe package final class PrivateKey: @unchecked Sendable {
    let raw: OpaquePointer

    /// The block as it was read or made. Its bytes key the join tokens (KubeEdge: pkg/security/token).
    package let block: PEMBlock

    private init(adopting raw: OpaquePointer, block: PEMBlock) {
        unsafe self.raw = unsafe raw
        self.block = block
    }

    deinit { unsafe EVP_PKEY_free(raw) }

    /// A new key on the curve P-256, in SEC 1 form.
    package static func generate() throws(TLSError) -> PrivateKey {
        ERR_clear_error()
        guard let raw = unsafe CHub_EVP_EC_gen("P-256") else {
            throw TLSError(.privateKey, "cannot make a key", drainErrorQueue())
        }
        var output: UnsafeMutablePointer<UInt8>?
        let count = Int(unsafe i2d_PrivateKey(raw, &output))
        guard count > 0, let bytes = unsafe output else {
            unsafe EVP_PKEY_free(raw)
            throw TLSError(.privateKey, "cannot encode a key", drainErrorQueue())
        }
        let block = unsafe PEMBlock(label: "EC PRIVATE KEY", der: UnsafeBufferPointer(start: bytes, count: count))
        unsafe CRYPTO_clear_free(bytes, count, #fileID, CInt(#line))
        return unsafe PrivateKey(adopting: raw, block: block)
    }

    /// The first private key of a PEM text. Other blocks before it, such as `EC PARAMETERS`, are skipped.
    ///
    /// - Throws: `.privateKey` when there is none, when it is encrypted, or when its algorithm is not known.
    package static func read(pem: some Sequence<UInt8>) throws(TLSError) -> PrivateKey {
        let blocks: [PEMBlock]
        do throws(TLSError) {
            blocks = try PEMBlock.read(pem)
        } catch {
            throw TLSError(.privateKey, error.detail, error.queue)
        }
        guard let block = blocks.first(where: { $0.label.hasSuffix("PRIVATE KEY") }) else {
            throw TLSError(.privateKey, "there is no PEM private key")
        }
        guard !block.isEncrypted, block.label != "ENCRYPTED PRIVATE KEY" else {
            throw TLSError(.privateKey, "the private key is encrypted")
        }
        ERR_clear_error()
        let raw = unsafe block.der.withBytes { bytes -> OpaquePointer? in
            var next = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return unsafe d2i_AutoPrivateKey(nil, &next, bytes.count)
        }
        guard let raw = unsafe raw else {
            throw TLSError(.privateKey, "the private key is malformed or of an unknown kind", drainErrorQueue())
        }
        ERR_clear_error()
        return unsafe PrivateKey(adopting: raw, block: block)
    }

    /// The PEM text of the key, for a file with mode 0600.
    package var pem: [UInt8] {
        get throws(TLSError) { try block.text }
    }

    package var kind: PublicKey.Kind { unsafe PublicKey.kind(raw) }

    /// The public half.
    package var publicKey: PublicKey {
        unsafe EVP_PKEY_up_ref(raw)
        return unsafe PublicKey(adopting: raw)
    }

    /// What signs with this key: SHA-256, except for algorithms that bring their own digest.
    var digest: OpaquePointer? {
        switch unsafe EVP_PKEY_get_base_id(raw) {
        case EVP_PKEY_ED25519, EVP_PKEY_ED448: nil
        default: unsafe EVP_sha256()
        }
    }
}
