// An output that goes on taking lines while its reader stands still: first in memory, then in an unlinked file
// (design: "Flow control", rule 4). Only past both bounds does the stage stop reading.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A LineWriter with a file behind it. Lines keep their order.
package final class SpillWriter {
    package let writer: LineWriter
    /// Bytes in the file that the reader has not taken.
    package var spilled: Int { tail - head }

    private let hold: Int
    private let limit: Int
    private let directory: String
    private var file: Int32 = -1
    private var head = 0
    private var tail = 0
    /// Lines that the file could not take; they follow those of the file.
    private var overflow: [UInt8] = []
    /// The file cannot take more: the errno of the last attempt.
    package private(set) var failure: Int32 = 0

    /// Bytes brought back at once.
    private let step: Int

    /// - Parameters:
    ///   - hold: bytes kept in memory before the file is used.
    ///   - limit: bytes kept in the file.
    ///   - directory: where the file is made; it has no name, so it goes with the process.
    package init(_ writer: LineWriter, hold: Int, limit: Int, directory: String) {
        self.writer = writer
        self.hold = hold
        step = max(1, min(hold, 256 << 10))
        self.limit = limit
        self.directory = directory
    }

    deinit { if file >= 0 { _ = close(file) } }

    /// No more lines should come: memory and file are at their bounds.
    package var isFull: Bool {
        // What made memory go past its bound has gone to the file, so memory alone does not tell.
        !overflow.isEmpty || (limit > 0 && spilled >= limit) || (writer.pending >= hold && (limit == 0 || failure != 0))
    }

    /// Bytes that the reader has not taken, wherever they are.
    package var pending: Int { writer.pending + spilled + overflow.count }

    /// The reader has taken what was in memory, and there is more: `refill` should be called though nothing else happens.
    package var wantsRefill: Bool { writer.pending == 0 && (spilled > 0 || !overflow.isEmpty) }

    /// Call after lines were appended to `writer.buffer`, from byte `start` on: moves them to the file if memory is at its bound
    /// or older lines wait in the file.
    package func appended(from start: Int) {
        guard spilled > 0 || !overflow.isEmpty || writer.pending > hold else { return }
        if overflow.isEmpty, spilled < limit, openFile(), store(from: start) {
            writer.buffer.removeLast(writer.buffer.count - start)
        } else if spilled > 0 || !overflow.isEmpty {
            // The file is full, or its disk: the gate closes, and this batch follows the file's lines.
            overflow.append(contentsOf: writer.buffer[start...])
            writer.buffer.removeLast(writer.buffer.count - start)
        }
    }

    private func store(from start: Int) -> Bool {
        var at = start
        while at < writer.buffer.count {
            let count = unsafe writer.buffer.withUnsafeBytes { bytes in
                unsafe pwrite(file, bytes.baseAddress?.advanced(by: at), bytes.count - at, off_t(tail + at - start))
            }
            if count < 0 {
                if CHub_errno() == EINTR { continue }
                failure = CHub_errno()
                return false
            }
            at += count
        }
        tail += at - start
        return true
    }

    /// Brings lines back from the file when memory has room. Call before the writer is flushed.
    package func refill() throws(PipeError) {
        while spilled > 0, writer.pending < step {
            let wanted = min(spilled, step)
            var part = [UInt8](repeating: 0, count: wanted)
            let count = unsafe part.withUnsafeMutableBytes { unsafe pread(file, $0.baseAddress, wanted, off_t(head)) }
            guard count > 0 else { throw PipeError(.read, "cannot read the spill file", errno: CHub_errno()) }
            writer.buffer.append(contentsOf: part[..<count])
            head += count
        }
        guard spilled == 0, file >= 0 || !overflow.isEmpty || failure != 0, writer.pending < step else { return }
        writer.buffer.append(contentsOf: overflow)
        overflow = []
        failure = 0
        if tail > 0 { _ = ftruncate(file, 0) }
        head = 0
        tail = 0
    }

    /// Gives up what the reader has not taken.
    /// - Returns: bytes given up.
    package func discard() -> Int {
        defer {
            writer.discard()
            overflow = []
            head = tail
        }
        return pending
    }

    private func openFile() -> Bool {
        if file >= 0 { return true }
        var template = Array("\(directory)/hub-spill-XXXXXX".utf8CString)
        file = unsafe template.withUnsafeMutableBufferPointer { name in
            guard let base = name.baseAddress else { return -1 }
            let raw = unsafe mkstemp(base)
            if raw >= 0 { _ = unsafe unlink(base) }
            return raw
        }
        if file < 0 { failure = CHub_errno() }
        return file >= 0
    }
}
