// The parts of a stage that every executable sets up alike: refused lines, inputs, counters.

package import HubPipe
package import Logging

extension LineOptions {
    /// Refused lines of this program: logged as `level=warn event=reject input=- line=2 reason=…`.
    package func makeRejects(_ logger: Logger) throws(PipeError) -> Rejects {
        try Rejects(path: rejects, isStrict: strict) { report in
            logger.warning(
                "reject",
                metadata: ["input": "\(report.input)", "line": "\(report.line)", "reason": "\(report.reason)"])
        }
    }

    /// Opens the inputs; none means standard input. The one of `--also` comes last.
    package func openInputs(_ paths: [String]) throws(PipeError) -> [LineReader] {
        var readers: [LineReader] = []
        for path in paths.isEmpty ? ["-"] : paths {
            readers.append(try LineReader.open(path, maxLine: maxLine.bytes))
        }
        if let also { readers.append(try LineReader.openEndless(also, maxLine: maxLine.bytes)) }
        return readers
    }
}

extension [LineReader] {
    /// How many can end: a stage ends with the last of them.
    package var endingCount: Int { count { !$0.isEndless } }
}

extension Logger {
    /// One line of counters, as SIGUSR1 asks for.
    package func figures(_ figures: [Figure]) {
        let values = figures.map { ($0.name, MetadataValue.stringConvertible($0.value)) }
        notice("counters", metadata: Metadata(values, uniquingKeysWith: { first, _ in first }))
    }

    /// For programs that keep no metrics.
    package func reporter(_ stage: String) -> Reporter {
        Reporter(stage: stage, version: hubVersion, log: { figures($0) })
    }

    /// Opens an output; a FIFO without reader is waited for, and the log says so.
    package func openOutput(_ path: String) throws(PipeError) -> LineWriter {
        try LineWriter.open(path) { info("waiting_for_reader", metadata: ["path": "\(path)"]) }
    }

    /// Writes what a library has to say.
    package func log(_ notice: Notice) {
        let level: Logger.Level =
            switch notice.level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        log(level: level, "\(notice.event)", metadata: notice.details.mapValues { "\($0)" })
    }
}
