// The end of an output while a line is added to it: room is made once for all pieces of the line, not piece by piece.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Room for the pieces of one line. It lives inside one call of `append(atMost:_:)`; more than was asked for ends the program.
@usableFromInline @safe package struct ByteTail: ~Copyable {
    @usableFromInline var at: UnsafeMutablePointer<UInt8>
    @usableFromInline var room: Int

    @inlinable @inline(__always) init(_ start: UnsafeMutablePointer<UInt8>, _ room: Int) {
        unsafe at = unsafe start
        self.room = room
    }

    @inlinable @inline(__always) package mutating func append(_ byte: UInt8) {
        precondition(room >= 1)
        unsafe at.pointee = byte
        unsafe at += 1
        room &-= 1
    }

    @inlinable @inline(__always) package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        unsafe append(base, bytes.count)
    }

    /// An ASCII literal.
    @inlinable @inline(__always) package mutating func append(_ text: StaticString) {
        unsafe append(UnsafeRawPointer(text.utf8Start), text.utf8CodeUnitCount)
    }

    @inlinable @inline(__always) mutating func append(_ start: UnsafeRawPointer, _ count: Int) {
        precondition(room >= count)
        unsafe UnsafeMutableRawPointer(at).copyMemory(from: start, byteCount: count)
        unsafe at += count
        room &-= count
    }

    /// Most bytes of a number.
    @usableFromInline static let longestNumber = 20

    package mutating func append(decimal number: Int64) {
        if number < 0 { append(0x2d) }
        var count = 1
        var rest = number.magnitude
        while rest >= 10 {
            rest /= 10
            count &+= 1
        }
        precondition(room >= count)
        rest = number.magnitude
        for place in stride(from: count &- 1, through: 0, by: -1) {
            unsafe at[place] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        unsafe at += count
        room &-= count
    }
}

extension [UInt8] {
    /// Appends what `body` writes, which is at most `room` bytes.
    @inlinable @inline(__always) package mutating func append(atMost room: Int, _ body: (inout ByteTail) -> Void) {
        // Growth by doubling: many lines may wait for a slow reader.
        if capacity &- count < room { reserveCapacity(Swift.max(count + room, 2 * capacity)) }
        append(addingCapacity: room) { span in
            unsafe span.withUnsafeMutableBufferPointer { buffer, initialized in
                guard let start = buffer.baseAddress else { return }
                let free = buffer.count &- initialized
                var tail = unsafe ByteTail(start + initialized, free)
                body(&tail)
                initialized &+= free &- tail.room
            }
        }
    }
}
