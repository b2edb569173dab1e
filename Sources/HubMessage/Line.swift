// One message as it came: its bytes, and where its members stand.
// Nothing is decoded until somebody asks for one field.

/// A scanned line. It borrows its bytes: it is valid only inside the call that hands it over.
@usableFromInline @safe package struct Line {
    /// The line without its newline.
    @usableFromInline package let bytes: UnsafeRawBufferPointer
    @usableFromInline package let index: MessageIndex

    /// The line is in inner form: it begins with the envelope.
    @inlinable package var isInner: Bool { index.hub.isPresent }

    /// Checks that `bytes` is one message and finds its members. One pass; no allocation unless there are unknown or escaped keys
    /// in the top level, `hub`, `header` or `route`.
    ///
    /// - Throws: `MessageError` when it is no strict JSON (RFC 8259, UTF-8), lacks `header` or `route`, repeats a key in those objects,
    ///   has a known member of the wrong type, or nests deeper than 512.
    package static func scan(_ bytes: UnsafeRawBufferPointer) throws(MessageError) -> Line {
        var scanner = try unsafe MessageScanner(bytes)
        try scanner.scan()
        return unsafe Line(bytes: bytes, index: scanner.index)
    }

    private init(bytes: UnsafeRawBufferPointer, index: MessageIndex) {
        unsafe self.bytes = unsafe bytes
        self.index = index
    }

    // MARK: Reading fields

    /// The bytes of a field as they stand in the line.
    @inlinable @inline(__always) package func raw(_ field: Field) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: bytes[field.start..<field.end])
    }

    /// Calls `body` with the value of a string field: its bytes with escapes resolved. Empty when the field is absent.
    @inlinable @inline(__always) package func withValue<Result, Problem: Error>(
        _ field: Field, _ body: (UnsafeRawBufferPointer) throws(Problem) -> Result
    ) throws(Problem) -> Result {
        if !field.isEscaped {
            return unsafe try body(raw(field))
        }
        return unsafe try Self.withUnescaped(raw(field), body)
    }

    // Both take the bytes, not the line with its index, which would be copied.

    @inline(never) @usableFromInline static func withUnescaped<Result, Problem: Error>(
        _ raw: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws(Problem) -> Result
    ) throws(Problem) -> Result {
        // `withUnsafeBytes` of an array cannot carry a typed error, so the outcome is carried as a value.
        let decoded = unsafe JSONText.unescape(raw)
        let outcome: Swift.Result<Result, Problem> = unsafe decoded.withUnsafeBytes { value in
            do throws(Problem) { return .success(try unsafe body(value)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    /// The value of a string field as a String; empty when the field is absent. Not for the hot path.
    package func string(_ field: Field) -> String {
        unsafe withValue(field) { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// The value of a string field as bytes; empty when the field is absent.
    package func value(_ field: Field) -> [UInt8] {
        unsafe withValue(field) { unsafe [UInt8]($0) }
    }

    /// The field's value equals `text`, which is ASCII. An absent field equals the empty text.
    @inlinable @inline(__always) package func equals(_ field: Field, _ text: StaticString) -> Bool {
        if !field.isEscaped {
            return unsafe JSONText.equal(raw(field), text)
        }
        return unsafe Self.equalsUnescaped(raw(field), text)
    }

    @inline(never) @usableFromInline static func equalsUnescaped(_ raw: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        unsafe withUnescaped(raw) { unsafe JSONText.equal($0, text) }
    }
}
