// What a stage tells about itself: a log line on SIGUSR1, and with `--metrics` a file that is kept fresh.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Where the figures of one stage go.
package final class Reporter {
    /// The name in the label `stage`: `down`, `queue`, …
    package let stage: String
    private let version: String
    private let path: String?
    private let interval: Int64
    private let log: ([Figure]) -> Void
    private let onFailure: (String) -> Void
    private var due: Int64 = 0
    private var hasFailed = false
    private let started = wallMicroseconds()

    /// - Parameters:
    ///   - path: the metrics file; nil for none.
    ///   - interval: nanoseconds between two versions of it.
    ///   - log: gets the figures on SIGUSR1.
    ///   - onFailure: the file cannot be written, for the first time.
    package init(
        stage: String, version: String, path: String? = nil, interval: Int64 = 5_000_000_000, log: @escaping ([Figure]) -> Void,
        onFailure: @escaping (String) -> Void = { _ in }
    ) {
        self.stage = stage
        self.version = version
        self.path = path
        self.interval = interval
        self.log = log
        self.onFailure = onFailure
    }

    /// Lines that leave are counted.
    var countsLines: Bool { path != nil }

    /// When the file is to be written; nil for never.
    var deadline: Int64? { path == nil ? nil : due }

    func report(_ figures: [Figure]) { log(figures) }

    /// Writes the file if it is time.
    func tick(now: Int64, _ make: (inout MetricsText) -> Void) {
        guard path != nil, now >= due else { return }
        due = now + interval
        write(make)
    }

    /// Writes the file.
    func write(_ make: (inout MetricsText) -> Void) {
        guard let path else { return }
        var text = MetricsText(stage: stage)
        text.gauge("hub_stage_info", 1, "Which program runs; always 1.", ["version": version])
        text.gauge("hub_start_time_seconds", Double(started) / 1e6, "When the stage started, in seconds since 1970.")
        var usage = rusage()
        // RUSAGE_SELF, whose type differs between C libraries.
        unsafe _ = getrusage(0, &usage)
        let seconds =
            Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        text.counter("hub_cpu_seconds_total", seconds, "Processor time of the stage.")
        text.gauge("hub_resident_bytes", Double(Self.residentBytes()), "Memory of the stage.")
        make(&text)
        do throws(PipeError) {
            try AtomicFile.write(text.bytes, to: path)
            hasFailed = false
        } catch {
            if !hasFailed { onFailure(error.description) }
            hasFailed = true
        }
    }

    private static func residentBytes() -> Int {
        // Seven numbers. With room for a whole file, the measuring would add a mebibyte to what it measures.
        guard let bytes = try? SmallFile.read("/proc/self/statm", limit: 256) else { return 0 }
        let words = bytes.split(separator: 0x20)
        guard words.count > 1, let pages = Int(String(decoding: words[1], as: UTF8.self)) else { return 0 }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
