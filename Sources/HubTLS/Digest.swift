// SHA-256, HMAC-SHA256, SHA-1, random bytes and a comparison whose time tells nothing.

internal import COpenSSL

package enum Digest {
    /// SHA-256 of `bytes`; 32 bytes.
    package static func sha256(_ bytes: [UInt8]) throws(TLSError) -> [UInt8] {
        unsafe try hash(bytes, EVP_sha256(), length: 32)
    }

    /// SHA-1 of `bytes`; 20 bytes. Only for `Sec-WebSocket-Accept` (RFC 6455, 4.2.2), where it protects nothing.
    package static func sha1(_ bytes: [UInt8]) throws(TLSError) -> [UInt8] {
        unsafe try hash(bytes, EVP_sha1(), length: 20)
    }

    private static func hash(_ bytes: [UInt8], _ algorithm: OpaquePointer?, length: Int) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        var digest = [UInt8](repeating: 0, count: length)
        let result = unsafe bytes.withUnsafeBytes { input in
            unsafe EVP_Digest(input.baseAddress, input.count, &digest, nil, algorithm, nil)
        }
        guard result == 1 else { throw TLSError(.digest, "cannot compute a digest", drainErrorQueue()) }
        return digest
    }

    /// HMAC-SHA256 (RFC 2104) of `message`; 32 bytes.
    package static func hmacSHA256(key: Secret, _ message: [UInt8]) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        var code = [UInt8](repeating: 0, count: 32)
        var length = 0
        let result = unsafe key.withBytes { secret in
            unsafe EVP_Q_mac(
                nil, "HMAC", nil, "SHA256", nil, secret.baseAddress, secret.count, message, message.count, &code, code.count, &length)
        }
        guard unsafe result != nil, length == code.count else { throw TLSError(.digest, "cannot compute an HMAC", drainErrorQueue()) }
        return code
    }

    /// Equality in a time that depends on the lengths only.
    package static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return unsafe CRYPTO_memcmp(left, right, left.count) == 0
    }

    /// Bytes from OpenSSL's random generator.
    package static func random(_ count: Int) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        var bytes = [UInt8](repeating: 0, count: count)
        guard let size = CInt(exactly: count), unsafe RAND_bytes(&bytes, size) == 1 else {
            throw TLSError(.digest, "no random bytes", drainErrorQueue())
        }
        return bytes
    }

    /// Lower-case hexadecimal digits.
    package static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
