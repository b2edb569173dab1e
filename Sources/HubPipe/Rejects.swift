// What becomes of a line that no stage can use: one report, an optional verbatim copy, a count (design: "Bad input").

/// Refused lines of one program.
package final class Rejects {
    /// A refused line, for the log.
    package struct Report: Sendable, Equatable {
        package let input: String
        package let line: Int
        package let reason: String
    }

    package private(set) var count = 0
    /// By reason, without what differs from line to line; a few reasons at most, the rest together as `other`.
    package private(set) var byReason: [String: Int] = [:]
    private static let mostReasons = 32
    private let file: LineWriter?
    private let isStrict: Bool
    private let report: (Report) -> Void

    /// - Parameters:
    ///   - path: file to which refused lines are appended, verbatim.
    ///   - isStrict: the first refused line ends the program.
    ///   - report: gets one report per refused line.
    package init(path: String?, isStrict: Bool, report: @escaping (Report) -> Void) throws(PipeError) {
        file = if let path { try LineWriter.open(path) } else { nil }
        self.isStrict = isStrict
        self.report = report
    }

    /// Counts and reports a refused line.
    /// - Throws: `PipeError` with code `.malformed` in strict mode, or when the copy cannot be written.
    package func refuse(_ bytes: UnsafeRawBufferPointer, input: String, line: Int, reason: String) throws(PipeError) {
        try unsafe copy(bytes, isLast: true)
        try refused(input: input, line: line, reason: reason)
    }

    /// Counts and reports a line of which no copy is kept.
    package func refuseUnkept(input: String, line: Int, reason: String) throws(PipeError) {
        try refused(input: input, line: line, reason: reason)
    }

    /// As `refuse`, for a line that comes in parts.
    package func refusePart(
        _ bytes: UnsafeRawBufferPointer, input: String, line: Int, isLast: Bool, reason: String
    ) throws(PipeError) {
        try unsafe copy(bytes, isLast: isLast)
        if isLast { try refused(input: input, line: line, reason: reason) }
    }

    private func copy(_ bytes: UnsafeRawBufferPointer, isLast: Bool) throws(PipeError) {
        guard let file else { return }
        unsafe file.buffer.append(contentsOf: bytes)
        if isLast { file.buffer.append(0x0a) }
        try file.flush()
    }

    private func note(_ reason: String) {
        // `not JSON at byte 17`: the place is no part of the reason.
        let words = reason.split(separator: " ")
        let isPlaced = words.count > 3 && words[words.count - 3] == "at" && words[words.count - 2] == "byte"
        let cause = isPlaced ? words.dropLast(3).joined(separator: " ") : reason
        let isKnown = byReason[cause] != nil || byReason.count < Self.mostReasons
        byReason[isKnown ? cause : "other", default: 0] += 1
    }

    private func refused(input: String, line: Int, reason: String) throws(PipeError) {
        count += 1
        note(reason)
        report(Report(input: input, line: line, reason: reason))
        if isStrict { throw PipeError(.malformed, "\(input == "-" ? "standard input" : input): line \(line): \(reason)") }
    }
}
