import CHubSystem
import Glibc
import Testing

@testable import HubPipe

@Suite("A spilling writer")
struct SpillWriterTests {
    /// Numbered lines go in while nobody reads; then everything is read.
    private func run(hold: Int, limit: Int, lines: Int, directory: String = "/tmp") throws -> (order: Bool, spilled: Int, wasFull: Bool) {
        var ends: [Int32] = [0, 0]
        _ = unsafe pipe(&ends)
        _ = CHub_set_nonblocking(ends[0])
        _ = CHub_set_nonblocking(ends[1])
        let reader = LineReader(Descriptor(adopting: ends[0]), name: "-", maxLine: 1000)
        let spill = SpillWriter(LineWriter(Descriptor(adopting: ends[1]), name: "out"), hold: hold, limit: limit, directory: directory)
        var spilled = 0
        var wasFull = false
        for number in 0..<lines {
            let start = spill.writer.buffer.count
            spill.writer.buffer.append(contentsOf: Array("\(number)\n".utf8))
            spill.appended(from: start)
            try spill.refill()
            try spill.writer.flush()
            spilled = max(spilled, spill.spilled)
            wasFull = wasFull || spill.isFull
        }
        var next = 0
        var inOrder = true
        while next < lines {
            try spill.refill()
            try spill.writer.flush()
            _ = try reader.read()
            while let piece = unsafe reader.next() {
                if case .line(let bytes, _) = unsafe piece {
                    inOrder = unsafe inOrder && String(decoding: bytes, as: UTF8.self) == "\(next)"
                    next += 1
                }
            }
        }
        return (inOrder && spill.pending == 0, spilled, wasFull)
    }

    @Test("keeps the order through memory and file")
    func order() throws {
        let result = try run(hold: 1000, limit: 10 << 20, lines: 60_000)
        #expect(result.order && result.spilled > 100_000 && !result.wasFull)
    }

    @Test("is full past both bounds, and still loses nothing")
    func full() throws {
        let result = try run(hold: 1000, limit: 10_000, lines: 60_000)
        #expect(result.order && result.wasFull)
    }

    @Test("is full near its bounds, also when one line less than the memory's bound waits in memory")
    func bound() throws {
        var ends: [Int32] = [0, 0]
        _ = unsafe pipe(&ends)
        _ = CHub_set_nonblocking(ends[1])
        let reader = Descriptor(adopting: ends[0])
        let hold = 1 << 20
        let spill = SpillWriter(LineWriter(Descriptor(adopting: ends[1]), name: "out"), hold: hold, limit: 100_000, directory: "/tmp")
        while !spill.isFull, spill.pending < 3 * hold {
            let start = spill.writer.buffer.count
            spill.writer.buffer.append(contentsOf: Array("a line of some length\n".utf8))
            spill.appended(from: start)
            try spill.refill()
            try spill.writer.flush()
        }
        #expect(spill.isFull && spill.pending < hold + 200_000)
        withExtendedLifetime(reader) {}
    }

    @Test("is full when the file cannot be made, and still loses nothing")
    func noFile() throws {
        let result = try run(hold: 1000, limit: 10 << 20, lines: 60_000, directory: "/nonexistent")
        #expect(result.order && result.wasFull && result.spilled == 0)
    }
}
