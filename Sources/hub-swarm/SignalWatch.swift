// Signals of a program whose main thread waits for others.

internal import HubCommand
internal import HubPipe

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Used by the main thread only.
final class SignalWatch {
    /// SIGTERM or SIGINT has come. The second one ends the process at once, with status 75.
    private(set) var isTerminated = false
    /// SIGHUP has come since the last `takeHangUp`.
    private var isHungUp = false
    private let signals: Descriptor

    /// To be made before any thread starts, so that all of them leave the signals to this one.
    init() throws(PipeError) { signals = try SystemSignals.open() }

    func takeHangUp() -> Bool {
        defer { isHungUp = false }
        return isHungUp
    }

    /// Waits for a signal, at most `milliseconds`.
    /// - Parameter report: called for SIGUSR1.
    func listen(milliseconds: Int32, report: () -> Void) {
        var ready = pollfd(fd: signals.raw, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&ready, 1, milliseconds) > 0 else { return }
        while let signal = SystemSignals.next(signals) {
            switch signal {
            case .terminate:
                if isTerminated { _exit(ExitStatus.temporary.rawValue) }
                isTerminated = true
            case .report: report()
            case .hangUp: isHungUp = true
            }
        }
    }
}
