// Which lines of a recording are played, how they are changed, and when each is due. Lines in, lines out, the time inside the calls.

package import HubMessage

/// A replay as a state machine.
package struct Player: Sendable {
    package struct Settings: Sendable {
        /// Only lines of this node; nil for all.
        package var node: [UInt8]?
        /// Only lines with this operation; nil for all.
        package var operation: [UInt8]?
        package var renames: [Rename] = []
        /// How often a renamed line is played.
        package var copies = 1
        /// What is the same for all lines.
        package var change = LineChange()
        /// Each line gets the time at which it leaves.
        package var retimes = false

        package init() {}
    }

    package struct Counters: Sendable, Equatable {
        /// Lines that came, those of them that were left out, and lines that left.
        package var read = 0
        package var skipped = 0
        package var played = 0
    }

    package private(set) var counters = Counters()
    private let settings: Settings
    private var pace: Pace
    /// What has come and is not due, in order; its beginning has left.
    private var waiting: [(due: Int64, bytes: [UInt8])] = []
    private var first = 0
    /// Bytes in `waiting`.
    package private(set) var held = 0

    package init(settings: Settings, pace: Pace) {
        self.settings = settings
        self.pace = pace
    }

    /// The recorded time up to which lines have come, in milliseconds since 1970; nil before the first.
    package var recorded: Int64? { pace.recorded }

    /// When the next line is due; nil when none waits.
    package var due: Int64? { first < waiting.count ? waiting[first].due : nil }

    /// Takes a line: it waits until it is due.
    /// - Parameter now: monotonic nanoseconds.
    package mutating func take(_ line: Line, now: Int64) {
        counters.read += 1
        guard isWanted(line) else {
            counters.skipped += 1
            return
        }
        let due = pace.due(Int64(line.string(line.index.header.timestamp)), now: now)
        let bytes = unsafe [UInt8](line.bytes)
        held += bytes.count
        waiting.append((due, bytes))
    }

    private func isWanted(_ line: Line) -> Bool {
        if let operation = settings.operation, line.value(line.index.route.operation) != operation { return false }
        if let node = settings.node, LineChange.node(of: line) != node { return false }
        return true
    }

    /// Appends what is due, until the output holds `room` bytes.
    /// - Parameter time: milliseconds since 1970.
    package mutating func play(now: Int64, time: Int64, room: Int, to output: inout [UInt8]) {
        while first < waiting.count, waiting[first].due <= now, output.count < room {
            let bytes = waiting[first].bytes
            waiting[first].bytes = []
            held -= bytes.count
            first += 1
            unsafe bytes.withUnsafeBytes { raw in
                // Scanned before, so the scan cannot fail.
                guard let line = try? unsafe Line.scan(raw) else { return }
                append(line, time, &output)
            }
        }
        if first == waiting.count || first > 4096 {
            waiting.removeFirst(first)
            first = 0
        }
    }

    private mutating func append(_ line: Line, _ time: Int64, _ output: inout [UInt8]) {
        var change = settings.change
        if settings.retimes { change.timestamp = time }
        guard !settings.renames.isEmpty, let node = LineChange.node(of: line),
            let rename = settings.renames.first(where: { $0.from ?? node == node })
        else {
            change.append(line, to: &output)
            counters.played += 1
            return
        }
        let suffix = change.idSuffix
        for copy in 0..<settings.copies {
            change.to = rename.name(copy)
            // The copies of a message are different messages.
            if settings.copies > 1 { change.idSuffix = suffix + Array("-\(copy)".utf8) }
            change.append(line, to: &output)
            counters.played += 1
        }
    }
}
