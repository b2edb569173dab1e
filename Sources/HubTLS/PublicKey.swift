// Public keys: their kind and size, which decide whether a certificate may be made for them.

internal import COpenSSL

/// One reference to an `EVP_PKEY` whose public half is used. OpenSSL counts references atomically and the key is never changed.
@safe package final class PublicKey: Equatable, @unchecked Sendable {
    package enum Kind: Sendable, Equatable {
        case rsa(bits: Int)
        /// A named curve, as OpenSSL calls it: `prime256v1`, `secp384r1`, `secp521r1`.
        case curve(String)
        /// Everything else: other algorithms, and curves that are spelled out instead of named.
        case other(String)
    }

    let raw: OpaquePointer

    init(adopting raw: OpaquePointer) { unsafe self.raw = unsafe raw }

    deinit { unsafe EVP_PKEY_free(raw) }

    package var kind: Kind { unsafe Self.kind(raw) }

    /// The key is mathematically sound: the point lies on the curve, the modulus is composite and has no small factor.
    package var isSound: Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let context = unsafe EVP_PKEY_CTX_new(raw, nil) else { return false }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        return unsafe EVP_PKEY_public_check(context) == 1
    }

    package static func == (left: PublicKey, right: PublicKey) -> Bool {
        ERR_clear_error()
        defer { ERR_clear_error() }
        return unsafe EVP_PKEY_eq(left.raw, right.raw) == 1
    }

    static func kind(_ raw: OpaquePointer) -> Kind {
        ERR_clear_error()
        defer { ERR_clear_error() }
        switch unsafe EVP_PKEY_get_base_id(raw) {
        case EVP_PKEY_RSA:
            return .rsa(bits: Int(unsafe EVP_PKEY_get_bits(raw)))
        case EVP_PKEY_EC:
            var isExplicit: CInt = 0
            _ = unsafe EVP_PKEY_get_int_param(raw, "decoded-from-explicit", &isExplicit)
            guard isExplicit == 0 else { return .other("explicit curve") }
            var name = [CChar](repeating: 0, count: 80)
            var length = 0
            guard unsafe EVP_PKEY_get_group_name(raw, &name, name.count, &length) == 1 else { return .other("unnamed curve") }
            return .curve(String(decoding: name.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        default:
            return .other(unsafe EVP_PKEY_get0_type_name(raw).map { unsafe String(cString: $0) } ?? "unknown")
        }
    }
}
