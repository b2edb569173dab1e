// What one side of a TLS connection proves itself with; shared by many contexts or connections.

internal import COpenSSL

/// A certificate chain and the private key of its leaf.
@safe package final class TLSIdentity: Sendable {
    /// The leaf comes first.
    let chain: [Certificate]
    let key: PrivateKey

    /// Reads a PEM certificate chain, leaf first, and the PEM private key of the leaf (SEC 1, PKCS #1 or PKCS #8, not encrypted).
    ///
    /// - Throws: `TLSError` with code `.certificate`, `.privateKey` or `.keyMismatch`.
    package init(certificates: [UInt8], privateKey: [UInt8]) throws(TLSError) {
        chain = try Certificate.readAll(pem: certificates)
        key = try PrivateKey.read(pem: privateKey)
        guard let leaf = chain.first, leaf.belongs(to: key) else {
            throw TLSError(.keyMismatch, "the private key does not belong to the certificate", drainErrorQueue())
        }
    }
}

extension Certificate {
    /// All certificates of a PEM text, in their order.
    /// - Throws: `.certificate` when there is none, or when one is malformed.
    package static func readAll(pem: [UInt8]) throws(TLSError) -> [Certificate] {
        var found: [Certificate] = []
        for block in try PEMBlock.read(pem) where block.label.hasSuffix("CERTIFICATE") {
            found.append(try Certificate.read(der: unsafe block.der.withBytes { unsafe Array($0) }))
        }
        guard !found.isEmpty else { throw TLSError(.certificate, "there is no PEM certificate") }
        return found
    }
}
