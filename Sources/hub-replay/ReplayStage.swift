// hub-replay between its descriptors.

internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubReplay
internal import Logging

final class ReplayStage: Stage {
    private var player: Player
    private var openInputs: Int
    /// Inputs are played one after the other, unless they are merged.
    private var current = 0
    private let merges: Bool
    private let output: LineWriter
    private let rejects: Rejects
    private let logger: Logger
    private let showsProgress: Bool
    private let start = monotonicNanoseconds()
    private var nextProgress: Int64
    private var bytes = 0
    private var isTerminated = false

    /// Output that may wait before no more is played, and lines that may wait for their time before no more is read.
    private static let fullAt = 256 << 10
    private static let progressInterval: Int64 = 1_000_000_000

    init(
        _ player: Player, inputCount: Int, merges: Bool, output: LineWriter, rejects: Rejects, logger: Logger, showsProgress: Bool
    ) {
        self.player = player
        self.merges = merges
        openInputs = inputCount
        self.output = output
        self.rejects = rejects
        self.logger = logger
        self.showsProgress = showsProgress
        nextProgress = start + Self.progressInterval
    }

    func take(_ line: Line, from input: Int, now: Int64) -> String? {
        unsafe bytes += line.bytes.count + 1
        player.take(line, now: now)
        return nil
    }

    func wantsInput(_ input: Int) -> Bool {
        (merges || input == current) && player.held < Self.fullAt && output.pending < Self.fullAt
    }

    var deadline: Int64? {
        let next = output.pending < Self.fullAt ? player.due : nil
        return showsProgress ? min(next ?? .max, nextProgress) : next
    }

    func tick(now: Int64) {
        let time = wallMicroseconds() / 1000
        player.play(now: now, time: time, room: output.buffer.count - output.pending + Self.fullAt, to: &output.buffer)
        guard showsProgress, now >= nextProgress else { return }
        nextProgress = now + Self.progressInterval
        let at = player.recorded.map { " at \(Timestamp.rfc3339($0 / 1000))" } ?? ""
        StandardError.write("\r\(player.counters.played) lines, \(bytes >> 20) MiB, \((now - start) / 1_000_000_000) s\(at)\u{1b}[K")
    }

    func inputEnded(_ input: Int, now: Int64) {
        openInputs -= 1
        current += 1
    }

    func terminate(now: Int64) { isTerminated = true }

    /// A replay that is ended leaves out what is not due yet.
    var isDone: Bool { isTerminated && player.due ?? .max > monotonicNanoseconds() || openInputs == 0 && player.due == nil }

    var figures: [Figure] {
        let counters = player.counters
        return [
            .counter("read", counters.read), .counter("skipped", counters.skipped), .counter("played", counters.played),
            .gauge("waiting_bytes", player.held), .gauge("pending_bytes", output.pending),
        ]
    }

    /// Says at the end what was played.
    func summarize() {
        if showsProgress { StandardError.write("\r\u{1b}[K") }
        let counters = player.counters
        let milliseconds = (monotonicNanoseconds() - start) / 1_000_000
        logger.info(
            "replayed",
            metadata: [
                "read": "\(counters.read)", "skipped": "\(counters.skipped)", "played": "\(counters.played)",
                "rejected": "\(rejects.count)", "milliseconds": "\(milliseconds)",
            ])
    }
}
