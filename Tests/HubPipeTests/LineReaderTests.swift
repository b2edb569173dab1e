import CHubSystem
import Glibc
import Testing

@testable import HubPipe

/// A pipe; the test writes, the reader reads.
private final class Pipe {
    let reader: LineReader
    private let input: Int32

    init(maxLine: Int = 1000) {
        var ends: [Int32] = [0, 0]
        _ = unsafe pipe(&ends)
        input = ends[1]
        _ = CHub_set_nonblocking(ends[0])
        reader = LineReader(Descriptor(adopting: ends[0]), name: "-", maxLine: maxLine)
    }

    func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = RawDescriptor.writeSome(input, bytes[...])
    }

    func end() { _ = close(input) }

    /// What the reader has now: lines as text, parts of over-long lines as their length.
    func take() throws -> [String] {
        var result: [String] = []
        while true {
            if case .bytes = try reader.read() {} else { break }
            result += drain()
        }
        return result + drain()
    }

    private func drain() -> [String] {
        var result: [String] = []
        while let piece = unsafe reader.next() {
            switch unsafe piece {
            case .line(let bytes, let number): result.append(unsafe "\(number):\(String(decoding: bytes, as: UTF8.self))")
            case .overlong(_, let number, let isLast): if isLast { result.append("\(number):too long") }
            }
        }
        return result
    }
}

@Suite("A line reader")
struct LineReaderTests {
    @Test("gives lines with their numbers, however the input is cut")
    func cutAnywhere() throws {
        let text = "one\n\ntwo\nthree"
        for cut in 0...text.utf8.count {
            let pipe = Pipe()
            pipe.write(String(text.prefix(cut)))
            var lines = try pipe.take()
            pipe.write(String(text.dropFirst(cut)))
            pipe.end()
            lines += try pipe.take()
            #expect(lines == ["1:one", "3:two", "4:three"], "cut at \(cut)")
        }
    }

    @Test("skips a line that is too long without holding it, and goes on")
    func overlong() throws {
        for length in [1001, 5000, 40_000] {
            let pipe = Pipe()
            pipe.write("before\n" + String(repeating: "x", count: length) + "\nafter\n")
            pipe.end()
            #expect(try pipe.take() == ["1:before", "2:too long", "3:after"])
        }
    }

    @Test("takes a line of exactly the longest length")
    func exact() throws {
        let pipe = Pipe()
        let text = String(repeating: "x", count: 1000)
        pipe.write(text + "\n" + text)
        pipe.end()
        #expect(try pipe.take() == ["1:" + text, "2:" + text])
    }

    @Test("tells an over-long last line without newline")
    func overlongAtEnd() throws {
        let pipe = Pipe()
        pipe.write(String(repeating: "x", count: 1001))
        pipe.end()
        #expect(try pipe.take() == ["1:too long"])
    }
}
