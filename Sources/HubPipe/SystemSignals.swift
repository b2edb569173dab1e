// Signals as readable events: they are blocked in every thread and read from a descriptor by the poll loop.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// What an operator can ask of a running program.
package enum Signal: Sendable, Equatable {
    /// SIGTERM, SIGINT
    case terminate
    /// SIGHUP
    case hangUp
    /// SIGUSR1
    case report
}

package enum SystemSignals {
    /// Lets a write to a pipe without reader fail with EPIPE instead of killing the process.
    package static func ignoreBrokenPipe() { CHub_ignore_sigpipe() }

    /// Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR1 in the calling thread, and so in every thread started after,
    /// and returns a descriptor that becomes readable when one arrives.
    package static func open() throws(PipeError) -> Descriptor {
        let raw = unsafe [SIGTERM, SIGINT, SIGHUP, SIGUSR1].withUnsafeBufferPointer {
            unsafe CHub_signalfd($0.baseAddress, CInt($0.count))
        }
        guard raw >= 0 else { throw PipeError(.system, "cannot watch signals", errno: CHub_errno()) }
        return Descriptor(adopting: raw)
    }

    /// The next pending signal, nil when none is pending.
    package static func next(_ descriptor: borrowing Descriptor) -> Signal? {
        switch CHub_read_signal(descriptor.raw) {
        case SIGTERM, SIGINT: .terminate
        case SIGHUP: .hangUp
        case SIGUSR1: .report
        default: nil
        }
    }
}
