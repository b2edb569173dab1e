// Whether bytes are JSON at all, for those who must tell "no JSON" from "no message".

extension Line {
    /// `bytes` is one JSON value (RFC 8259, UTF-8), whatever it says. Nesting beyond the depth of `scan` counts as JSON unread.
    package static func isJSON(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        let start = unsafe base.assumingMemoryBound(to: UInt8.self)
        var cursor = unsafe JSONCursor(UnsafeBufferPointer(start: start, count: bytes.count), start)
        do throws(MessageError) {
            cursor.skipSpace()
            try cursor.skipValue(depth: 0)
            cursor.skipSpace()
            return cursor.isAtEnd
        } catch {
            return error.code == .tooDeep
        }
    }
}
