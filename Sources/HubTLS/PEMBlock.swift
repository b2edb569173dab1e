// PEM (RFC 7468): labelled base64 blocks in a text. Text around the blocks is ignored.

internal import COpenSSL

/// One block of a PEM text.
package struct PEMBlock: Sendable {
    /// `CERTIFICATE`, `EC PRIVATE KEY`, …
    package let label: String
    /// The block is encrypted in the old way (RFC 1421, `Proc-Type: 4,ENCRYPTED`).
    package let isEncrypted: Bool
    /// What the block holds, as it is.
    package let der: Secret

    package init(label: String, der: some Collection<UInt8>) {
        self.label = label
        isEncrypted = false
        self.der = Secret(der)
    }

    private init(label: String, isEncrypted: Bool, der: Secret) {
        self.label = label
        self.isEncrypted = isEncrypted
        self.der = der
    }

    /// The blocks of `text`, in order.
    /// - Throws: `.certificate` when a block is damaged.
    package static func read(_ text: some Sequence<UInt8>) throws(TLSError) -> [PEMBlock] {
        let source = try MemoryBIO.holding(text)
        var blocks: [PEMBlock] = []
        while true {
            var name: UnsafeMutablePointer<CChar>?
            var header: UnsafeMutablePointer<CChar>?
            var data: UnsafeMutablePointer<UInt8>?
            var count = 0
            ERR_clear_error()
            guard unsafe PEM_read_bio(source.raw, &name, &header, &data, &count) == 1 else { break }
            if let name = unsafe name, let header = unsafe header, let data = unsafe data {
                let content = unsafe Secret(UnsafeBufferPointer(start: data, count: count))
                let isEncrypted = unsafe header.pointee != 0
                blocks.append(PEMBlock(label: unsafe String(cString: name), isEncrypted: isEncrypted, der: content))
            }
            unsafe CRYPTO_free(name, #fileID, CInt(#line))
            unsafe CRYPTO_free(header, #fileID, CInt(#line))
            unsafe CRYPTO_clear_free(data, count, #fileID, CInt(#line))
        }
        // The end of the text shows as one error, "no start line".
        let end = ERR_peek_last_error()
        guard CHub_ERR_GET_LIB(end) == ERR_LIB_PEM, CHub_ERR_GET_REASON(end) == PEM_R_NO_START_LINE else {
            throw TLSError(.certificate, "a PEM block is damaged", drainErrorQueue())
        }
        ERR_clear_error()
        return blocks
    }

    /// The block as text, 64 characters a line.
    package var text: [UInt8] {
        get throws(TLSError) {
            let target = try MemoryBIO.holding([])
            let written = unsafe der.withBytes { bytes in
                unsafe PEM_write_bio(
                    target.raw, label, "", bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
            }
            guard written > 0 else { throw TLSError(.allocation, "no memory for a PEM block", drainErrorQueue()) }
            return target.contents
        }
    }
}
