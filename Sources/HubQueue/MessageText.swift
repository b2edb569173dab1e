// What the queue must know of a message while it is pending, in one allocation.

package import HubMessage

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Key, version, message id, object and path of one `ack` line.
package struct MessageText: Sendable, Equatable {
    /// The members one after the other.
    package private(set) var bytes: [UInt8]
    package private(set) var keyEnd: Int32 = 0
    package private(set) var versionEnd: Int32 = 0
    package private(set) var messageEnd: Int32 = 0
    package private(set) var objectEnd: Int32 = 0

    /// Copies the members of `line`, an inner line of kind `ack` whose envelope has been checked. Leading zeros of the version are dropped.
    ///
    /// A deletion without uid has its path as the key. What it deletes may be made anew and deleted again before the first deletion has
    /// been acknowledged, and both deletions must reach the node, in their places. So the id becomes a part of such a key.
    package init(_ line: Line) {
        let index = line.index
        let header = index.hub.key.count + index.hub.version.count + 2 * index.header.messageID.count
        bytes = []
        bytes.reserveCapacity(header + 1 + index.hub.object.count + index.route.resource.count)
        append(line, index.hub.key)
        if line.equals(index.route.operation, "delete"), bytes.elementsEqual(line.value(index.route.resource)) {
            bytes.append(0)
            append(line, index.header.messageID)
        }
        keyEnd = Int32(truncatingIfNeeded: bytes.count)
        append(line, index.hub.version)
        dropLeadingZeros()
        versionEnd = Int32(truncatingIfNeeded: bytes.count)
        append(line, index.header.messageID)
        messageEnd = Int32(truncatingIfNeeded: bytes.count)
        unsafe bytes.append(contentsOf: line.raw(index.hub.object))
        objectEnd = Int32(truncatingIfNeeded: bytes.count)
        append(line, index.route.resource)
    }

    static let empty = MessageText()

    private init() { bytes = [] }

    private mutating func append(_ line: Line, _ field: Field) {
        if field.isEscaped {
            bytes.append(contentsOf: line.value(field))
        } else {
            unsafe bytes.append(contentsOf: line.raw(field))
        }
    }

    private mutating func dropLeadingZeros() {
        let start = Int(keyEnd)
        var zeros = 0
        while start + zeros < bytes.count - 1, bytes[start + zeros] == 0x30 { zeros += 1 }
        if zeros > 0 { bytes.removeSubrange(start..<start + zeros) }
    }

    package var key: ArraySlice<UInt8> { bytes[..<Int(keyEnd)] }
    /// Decimal digits without leading zeros; empty when the message has no version.
    package var version: ArraySlice<UInt8> { bytes[Int(keyEnd)..<Int(versionEnd)] }
    package var messageID: ArraySlice<UInt8> { bytes[Int(versionEnd)..<Int(messageEnd)] }
    /// The raw JSON object of `hub.object`; empty when there is none.
    package var object: ArraySlice<UInt8> { bytes[Int(messageEnd)..<Int(objectEnd)] }
    /// The inner `route.resource`.
    package var path: ArraySlice<UInt8> { bytes[Int(objectEnd)...] }

    /// Calls `body` with all members in place: no copy, no slice.
    @inline(__always) func with<Result>(_ start: Int32, _ end: Int32, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe bytes.withUnsafeBytes { unsafe body(UnsafeRawBufferPointer(rebasing: $0[Int(start)..<Int(end)])) }
    }

    package var keyHash: UInt64 { unsafe with(0, keyEnd) { unsafe ByteHash.of($0) } }
    package var messageHash: UInt64 { unsafe with(versionEnd, messageEnd) { unsafe ByteHash.of($0) } }
    package var pathHash: UInt64 { unsafe with(objectEnd, Int32(truncatingIfNeeded: bytes.count)) { unsafe ByteHash.of($0) } }

    @inline(__always) func hasSameKey(as other: MessageText) -> Bool {
        unsafe other.with(0, other.keyEnd) { right in
            unsafe with(0, keyEnd) { unsafe Self.equal($0, right) }
        }
    }

    @inline(__always) func hasSamePath(as other: MessageText) -> Bool {
        unsafe other.with(other.objectEnd, Int32(truncatingIfNeeded: other.bytes.count)) { right in
            unsafe with(objectEnd, Int32(truncatingIfNeeded: bytes.count)) { unsafe Self.equal($0, right) }
        }
    }

    @inline(__always) func hasMessageID(_ other: UnsafeRawBufferPointer) -> Bool {
        unsafe with(versionEnd, messageEnd) { unsafe Self.equal($0, other) }
    }

    /// This version is higher than `other`. Versions are unsigned integers of any length; no version is lower than any.
    package func isNewer(than other: some Collection<UInt8>) -> Bool {
        let own = version
        if own.count != other.count { return own.count > other.count }
        for (left, right) in zip(own, other) where left != right { return left > right }
        return false
    }

    @inline(__always) private static func equal(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let one = left.baseAddress, let other = right.baseAddress, unsafe !left.isEmpty else { return true }
        return unsafe memcmp(one, other, left.count) == 0
    }
}
