// The hash of keys, paths and message ids. It is also a column of the state file, so it must never change.

/// A 64-bit hash of bytes: eight at a time, folded by a 64 by 64 bit multiplication (the construction of wyhash).
///
/// It finds candidates; whoever uses it compares the bytes as well, or can bear a false hit.
package enum ByteHash {
    package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state: UInt64 = 0xa076_1d64_78bd_642f ^ UInt64(truncatingIfNeeded: bytes.count)
        var at = 0
        while at &+ 8 <= bytes.count {
            let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            state = fold(state ^ word, 0xe703_7ed1_a0b4_28db)
            at &+= 8
        }
        var rest: UInt64 = 0
        while at < bytes.count {
            unsafe rest = rest << 8 | UInt64(bytes[at])
            at &+= 1
        }
        return fold(state ^ rest, 0x8ebc_6af0_9c88_c6e3)
    }

    package static func of(_ bytes: [UInt8]) -> UInt64 {
        unsafe bytes.withUnsafeBytes { unsafe of($0) }
    }

    /// The hash of something of one node, for tables that hold all nodes.
    @inline(__always) static func within(_ node: Int32, _ hash: UInt64) -> UInt64 {
        hash ^ (UInt64(truncatingIfNeeded: node) &+ 1) &* 0x9e37_79b9_7f4a_7c15
    }

    @inline(__always) private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
