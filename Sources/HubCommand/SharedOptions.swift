// Options that every stage has, with one meaning and one default.

package import ArgumentParser
package import HubPipe
package import Logging

extension LogFormat: ExpressibleByArgument {}

/// `--log-format` and `--log-level`.
package struct LogOptions: ParsableArguments {
    @Option(help: "Log lines as 'text' (level=info event=…) or as 'json' objects.")
    package var logFormat: LogFormat = Environment.option("log-format", .text)

    @Option(help: "Least severe level that is logged.")
    package var logLevel: LogLevel = Environment.option("log-level", .info)

    package init() {}

    /// The program's logger; the message of a log call is the event's name, the details are metadata.
    package func logger(_ label: String) -> Logger {
        let format = logFormat
        let level = Logger.Level(rawValue: logLevel.rawValue) ?? .info
        let logger = Logger(label: label) { _ in LineLogHandler(logLevel: level, format: format) }
        ConfigFile.warn(logger)
        return logger
    }
}

/// The severities of `--log-level`.
package enum LogLevel: String, ExpressibleByArgument, Sendable, CaseIterable {
    case debug
    case info
    case notice
    case warning
    case error
}

/// `--tap`, `--mirror` and `--metrics`: what every stage can tell others.
package struct OutputOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "While something reads the FIFO at this path, made if missing, copy each output line there; drop lines that it does not take.",
            valueName: "path"))
    package var tap: String?

    @Option(help: ArgumentHelp("As --tap, but drop nothing: the output waits for this FIFO's reader.", valueName: "path"))
    package var mirror: String?

    @Option(
        help: ArgumentHelp(
            "Keep counters in this file, renewed every --metrics-interval seconds, for Prometheus' textfile collector.", valueName: "file"))
    package var metrics: String?

    @Option(help: ArgumentHelp("Age at which the metrics file is renewed.", valueName: "seconds"))
    package var metricsInterval = Seconds(5)

    package init() {}

    package func validate() throws {
        guard metricsInterval.milliseconds >= 100 else { throw ValidationError("--metrics-interval must be at least 0.1 seconds") }
    }

    /// Where the figures of the program go.
    /// - Parameter stage: the label of its metrics.
    package func reporter(_ stage: String, _ logger: Logger) -> Reporter {
        Reporter(
            stage: stage, version: hubVersion, path: metrics, interval: metricsInterval.nanoseconds, log: { logger.figures($0) },
            onFailure: { logger.error("metrics_failed", metadata: ["reason": "\($0)"]) })
    }

    /// Standard output, with its taps.
    package func open() throws(PipeError) -> LineWriter {
        let output = try LineWriter.standardOutput()
        if let tap { output.taps.append(try Tap(tap)) }
        if let mirror { output.taps.append(try Tap(mirror, isMirror: true)) }
        return output
    }
}

/// `--rejects`, `--strict` and `--max-line`: what becomes of input that is no message.
package struct LineOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Append each refused line, verbatim, to this file.", valueName: "file"))
    package var rejects: String?

    @Flag(help: "End with status 65 at the first refused line.")
    package var strict = false

    @Option(help: ArgumentHelp("Longest accepted line; longer ones are skipped to their end and refused.", valueName: "bytes"))
    package var maxLine: ByteCount = Environment.option("max-line", .mebi(32))

    @Option(
        help: ArgumentHelp(
            "Read this FIFO as well, made if missing; its writers may come and go, and its end is no end of input.", valueName: "path"))
    package var also: String?

    package init() {}

    package func validate() throws {
        // Byte positions within a line are held in 32 bits.
        guard (64...(1 << 30)).contains(maxLine.bytes) else {
            throw ValidationError("--max-line must lie between 64 bytes and 1 GiB")
        }
    }
}
