// What a stage must answer to be driven by StageLoop.

package import HubMessage

/// A program between its inputs and outputs. All calls come from one thread, so a stage needs no lock.
package protocol Stage: AnyObject {
    /// Takes one line. It borrows its bytes: what is needed later must be copied.
    /// - Parameter now: nanoseconds of the monotonic clock, taken once per batch.
    /// - Returns: why the line is refused, nil when it is taken.
    func take(_ line: Line, from input: Int, now: Int64) throws(PipeError) -> String?

    /// May input `input` be read now? Asked before each wait; the pipe carries the back-pressure.
    func wantsInput(_ input: Int) -> Bool

    /// The monotonic time at which `tick` is due, nil for never.
    var deadline: Int64? { get }

    /// Called after each wake-up, after all lines that it brought, and before the outputs are flushed.
    func tick(now: Int64) throws(PipeError)

    /// Input `input` has ended, after its last line.
    func inputEnded(_ input: Int, now: Int64)

    /// All counters and gauges, for SIGUSR1 and `--metrics`.
    var figures: [Figure] { get }

    /// Metrics that are no figures: histograms, labels.
    func addMetrics(to text: inout MetricsText)

    /// SIGUSR1, after the figures have been logged.
    func reported()

    /// SIGHUP.
    func reload()

    /// The first SIGTERM: the loop reads no more lines. It returns once `isDone` holds and the outputs are flushed.
    func terminate(now: Int64)

    /// The work is done: the loop flushes and returns. Asked after each `tick`.
    var isDone: Bool { get }
}

extension Stage {
    package func wantsInput(_ input: Int) -> Bool { true }
    package var deadline: Int64? { nil }
    package func tick(now: Int64) throws(PipeError) {}
    package func inputEnded(_ input: Int, now: Int64) {}
    package func reload() {}
    package func addMetrics(to text: inout MetricsText) {}
    package func reported() {}
}
