// Where a value stands in its line.

/// A byte range of a line: the inside of a string without its quotes, or a whole value.
///
/// Lines are at most 1 GiB, so positions fit in 31 bits. No value starts at byte 0, so 0 means absent.
package struct Field: Sendable, Equatable {
    private var first: UInt32
    private var bits: UInt32

    package static let absent = Field(start: 0, end: 0)

    package init(start: Int, end: Int, isEscaped: Bool = false) {
        first = UInt32(truncatingIfNeeded: start)
        bits = UInt32(truncatingIfNeeded: end) | (isEscaped ? 1 << 31 : 0)
    }

    @inline(__always) package var isPresent: Bool { first != 0 }
    @inline(__always) package var start: Int { Int(first) }
    @inline(__always) package var end: Int { Int(bits & 0x7fff_ffff) }
    @inline(__always) package var count: Int { end - start }
    /// The string contains at least one escape sequence, so its bytes are not yet its value.
    @inline(__always) package var isEscaped: Bool { bits >> 31 != 0 }
}
