// Thin calls on descriptor numbers that are not owned, such as 0, 1 and 2.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum RawDescriptor {
    /// Writes as much of `bytes` as one call takes; waits when the descriptor is not ready.
    /// - Returns: the number of bytes written, or nil after an error.
    package static func writeSome(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Int? {
        while true {
            let count = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 { return count }
            switch CHub_errno() {
            case EINTR: continue
            case EAGAIN:
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&ready, 1, 1000)
            default: return nil
            }
        }
    }
}

/// The system's text for an errno.
package func systemText(_ errno: Int32) -> String {
    unsafe String(cString: strerror(errno))
}

/// Microseconds since 1970.
package func wallMicroseconds() -> Int64 { CHub_wall_us() }

/// Nanoseconds of the monotonic clock.
package func monotonicNanoseconds() -> Int64 { CHub_monotonic_ns() }
