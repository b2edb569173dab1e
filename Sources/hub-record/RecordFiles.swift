// The files of a recording: whole lines, one file after the other, the oldest removed when there are too many.

internal import HubMessage
internal import HubPipe

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// Files named `<name>-<time of their first line>-<number>.jsonl` in one directory.
struct RecordFiles {
    let directory: String
    let name: String
    let maxSize: Int
    /// Nanoseconds.
    let maxAge: Int64?
    let keep: Int?

    private(set) var written = 0
    private(set) var files = 0
    private var current: LineWriter?
    private var currentPath = ""
    private var size = 0
    private var begun: Int64 = 0
    /// Paths of finished files of this name, the oldest first; those of earlier runs too.
    private var finished: [String] = []

    /// - Throws: when the directory cannot be made or read.
    init(directory: String, name: String, maxSize: Int, maxAge: Int64?, keep: Int?) throws(PipeError) {
        self.directory = directory
        self.name = name
        self.maxSize = maxSize
        self.maxAge = maxAge
        self.keep = keep
        if unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw PipeError(.create, "cannot make the directory \(directory)", errno: errno)
        }
        finished = try Self.files(directory, name)
    }

    /// Appends whole lines to the current file, or to a new one if they do not fit.
    /// - Parameter now: monotonic nanoseconds.
    mutating func write(_ lines: [UInt8], now: Int64) throws(PipeError) {
        guard !lines.isEmpty else { return }
        if current != nil, size + lines.count > maxSize { try finish() }
        if current == nil { try begin(now) }
        guard let current else { return }
        current.buffer.append(contentsOf: lines)
        // A regular file takes everything or fails.
        try current.flush()
        size += lines.count
        written += lines.count
    }

    /// When the current file is old enough to be finished; nil when there is none.
    var due: Int64? {
        guard current != nil, let maxAge else { return nil }
        return begun + maxAge
    }

    /// Ends the current file; it is on the disk then.
    mutating func finish() throws(PipeError) {
        guard let current else { return }
        self.current = nil
        try current.sync()
        finished.append(currentPath)
        while let keep, finished.count > keep, let oldest = finished.first {
            _ = unsafe unlink(oldest)
            finished.removeFirst()
        }
    }

    private mutating func begin(_ now: Int64) throws(PipeError) {
        // Compact, and in the order of time when sorted by name.
        let time = Timestamp.rfc3339(wallMicroseconds() / 1_000_000).filter { $0 != "-" && $0 != ":" }
        var number = 0
        repeat {
            number += 1
            let digits = "\(number)"
            currentPath = "\(directory)/\(name)-\(time)-\(String(repeating: "0", count: max(0, 3 - digits.count)))\(digits).jsonl"
        } while unsafe access(currentPath, F_OK) == 0
        current = try LineWriter.open(currentPath)
        files += 1
        size = 0
        begun = now
    }

    private static func files(_ directory: String, _ name: String) throws(PipeError) -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw PipeError(.create, "cannot read the directory \(directory)", errno: errno)
        }
        defer { unsafe _ = closedir(stream) }
        var found: [String] = []
        while let entry = unsafe readdir(stream) {
            let file = unsafe withUnsafeBytes(of: entry.pointee.d_name) { raw in
                unsafe String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if file.hasPrefix("\(name)-"), file.hasSuffix(".jsonl") { found.append("\(directory)/\(file)") }
        }
        return found.sorted()
    }
}
