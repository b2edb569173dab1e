// Where a value stands in its line.

/// A byte range of a line: the inside of a string without its quotes, or a whole value.
///
/// Lines are at most 1 GiB, so positions fit in 31 bits. No value starts at byte 0, so 0 means absent.
@usableFromInline package struct Field: Sendable, Equatable {
    @usableFromInline var first: UInt32
    @usableFromInline var bits: UInt32

    @inlinable @inline(__always) package static var absent: Field { Field(start: 0, end: 0) }

    @inlinable @inline(__always) package init(start: Int, end: Int, isEscaped: Bool = false) {
        first = UInt32(truncatingIfNeeded: start)
        bits = UInt32(truncatingIfNeeded: end) | (isEscaped ? 1 << 31 : 0)
    }

    @inlinable @inline(__always) package var isPresent: Bool { first != 0 }
    @inlinable @inline(__always) package var start: Int { Int(first) }
    @inlinable @inline(__always) package var end: Int { Int(bits & 0x7fff_ffff) }
    @inlinable @inline(__always) package var count: Int { end - start }
    /// The string contains at least one escape sequence, so its bytes are not yet its value.
    @inlinable @inline(__always) package var isEscaped: Bool { bits >> 31 != 0 }
}
