// Bytes that must not outlive their use: keys and tokens.

internal import COpenSSL

/// An owned piece of memory that is overwritten before it is freed. It never changes, so threads may share it.
@safe package final class Secret: @unchecked Sendable {
    private let memory: UnsafeMutableRawBufferPointer

    /// A copy of `bytes`.
    package init(_ bytes: some Collection<UInt8>) {
        unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        unsafe memory.copyBytes(from: bytes)
    }

    deinit {
        unsafe OPENSSL_cleanse(memory.baseAddress, memory.count)
        unsafe memory.deallocate()
    }

    package var count: Int { unsafe memory.count }

    /// Lends the bytes for the length of the call.
    package borrowing func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe body(UnsafeRawBufferPointer(memory))
    }

    /// Overwrites `bytes` and makes them empty.
    package static func cleanse(_ bytes: inout [UInt8]) {
        unsafe bytes.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
        bytes = []
    }
}
