// hub-record between its descriptors.

internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import Logging

final class RecordStage: Stage {
    private var files: RecordFiles
    private var openInputs: Int
    /// Lines go there as well; nil when they end here.
    private let output: LineWriter?
    private let rejects: Rejects
    private let logger: Logger
    private var batch: [UInt8] = []
    private var lines = 0
    private var isTerminated = false

    /// Output that may wait before the input is left alone.
    private static let fullAt = 1 << 20

    init(_ files: RecordFiles, inputCount: Int, output: LineWriter?, rejects: Rejects, logger: Logger) {
        self.files = files
        openInputs = inputCount
        self.output = output
        self.rejects = rejects
        self.logger = logger
    }

    func take(_ line: Line, from input: Int, now: Int64) throws(PipeError) -> String? {
        line.appendUnchanged(to: &batch)
        lines += 1
        // A burst does not make a file longer than it may be.
        if batch.count >= 64 << 10 { try write(now) }
        return nil
    }

    private func write(_ now: Int64) throws(PipeError) {
        try files.write(batch, now: now)
        // What has left was recorded before.
        output?.buffer.append(contentsOf: batch)
        batch.removeAll(keepingCapacity: true)
    }

    func wantsInput(_ input: Int) -> Bool { output?.pending ?? 0 < Self.fullAt }

    var deadline: Int64? { files.due }

    func tick(now: Int64) throws(PipeError) {
        try write(now)
        if let due = files.due, now >= due { try files.finish() }
        if isDone { try files.finish() }
    }

    func inputEnded(_ input: Int, now: Int64) { openInputs -= 1 }
    func terminate(now: Int64) { isTerminated = true }
    var isDone: Bool { isTerminated || openInputs == 0 }

    var figures: [Figure] {
        [.counter("lines", lines), .counter("bytes", files.written), .counter("files", files.files)]
    }

    /// Says at the end what was recorded.
    func summarize() {
        logger.info("recorded", metadata: ["lines": "\(lines)", "bytes": "\(files.written)", "files": "\(files.files)"])
    }
}
