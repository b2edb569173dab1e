import CHubSystem
import Foundation
import Glibc
import Testing

@testable import HubPipe

@Suite("A tap")
struct TapTests {
    private let path = NSTemporaryDirectory() + "hub-tap-\(UUID().uuidString)"

    /// A tap whose reader is there, and the reader's end.
    private func opened() throws -> (tap: Tap, reader: Int32) {
        let tap = try Tap(path)
        let reader = unsafe CHub_open(path, O_RDONLY | O_NONBLOCK, 0)
        #expect(reader >= 0)
        return (tap, reader)
    }

    private func take(_ tap: Tap, _ text: String) { unsafe Array(text.utf8).withUnsafeBytes { unsafe tap.take($0) } }

    private func read(_ reader: Int32) -> String {
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe Glibc.read(reader, &part, part.count)
            guard count > 0 else { break }
            all += part[..<count]
        }
        return String(decoding: all, as: UTF8.self)
    }

    @Test("copies what leaves, whole lines only, however the writes are cut")
    func cut() throws {
        defer { _ = unsafe unlink(path) }
        let text = (0..<50).map { "line \($0)\n" }.joined()
        for size in [1, 2, 3, 7, 64, 1000] {
            let (tap, reader) = try opened()
            defer { _ = close(reader) }
            var left = text[...]
            while !left.isEmpty {
                take(tap, String(left.prefix(size)))
                left = left.dropFirst(size)
            }
            #expect(read(reader) == text)
            #expect(tap.copied == 50)
            #expect(tap.dropped == 0)
        }
    }

    @Test("a reader that comes in the middle of a line begins with the next one")
    func attach() throws {
        defer { _ = unsafe unlink(path) }
        let tap = try Tap(path)
        take(tap, "first\nsec")
        let reader = unsafe CHub_open(path, O_RDONLY | O_NONBLOCK, 0)
        defer { _ = close(reader) }
        usleep(120_000)
        take(tap, "ond\nthird\nfou")
        take(tap, "rth\n")
        #expect(read(reader) == "third\nfourth\n")
    }

    @Test("what a slow reader does not take is dropped as whole lines, and counted", arguments: [1, 10, 63, 1000, 70_000])
    func slow(size: Int) throws {
        defer { _ = unsafe unlink(path) }
        let (tap, reader) = try opened()
        defer { _ = close(reader) }
        let count = 2_000_000 / (size + 8)
        var expected = 0
        for number in 0..<count {
            let line = "\(number + 1_000_000) \(String(repeating: "x", count: size))\n"
            take(tap, String(line.prefix(5)))
            take(tap, String(line.dropFirst(5)))
            expected += 1
        }
        let early = read(reader)
        tap.flush()
        take(tap, "last\n")
        let lines = (early + read(reader)).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.last == "")
        #expect(lines.dropLast().last == "last")
        #expect(tap.copied == lines.count - 1)
        #expect(tap.copied + tap.dropped == expected + 1)
        #expect(tap.dropped > 0)
        // Each is whole, and they are in order.
        var last = 0
        for line in lines.dropLast(2) {
            let number = Int(line.prefix { $0 != " " }) ?? 0
            #expect(number > last && line.utf8.count == size + 8)
            last = number
        }
    }

    @Test("a reader may leave and come back")
    func leave() throws {
        defer { _ = unsafe unlink(path) }
        SystemSignals.ignoreBrokenPipe()
        let (tap, first) = try opened()
        take(tap, "one\n")
        #expect(read(first) == "one\n")
        _ = close(first)
        take(tap, "two\nthr")
        let second = unsafe CHub_open(path, O_RDONLY | O_NONBLOCK, 0)
        defer { _ = close(second) }
        usleep(120_000)
        take(tap, "ee\nfour\n")
        #expect(read(second) == "four\n")
    }

    @Test("a mirror drops nothing, and says when it is behind")
    func mirror() throws {
        defer { _ = unsafe unlink(path) }
        let tap = try Tap(path, isMirror: true)
        let reader = unsafe CHub_open(path, O_RDONLY | O_NONBLOCK, 0)
        defer { _ = close(reader) }
        var text = ""
        while !tap.isBehind {
            text += "\(text.utf8.count) \(String(repeating: "x", count: 5000))\n"
            take(tap, String(text.suffix(5003 + 7)).split(separator: "\n").last.map { "\($0)\n" } ?? "")
        }
        #expect(tap.dropped == 0)
        var came = read(reader)
        while tap.wantsWrite {
            tap.flush()
            came += read(reader)
        }
        #expect(!tap.isBehind)
        #expect(came.split(separator: "\n").count == tap.copied)
        #expect(came.utf8.last == 0x0a)
    }

    @Test("anything but a FIFO is refused")
    func noFIFO() throws {
        defer { _ = unsafe unlink(path) }
        try Data().write(to: URL(fileURLWithPath: path))
        #expect(throws: PipeError.self) { try Tap(path) }
        #expect(throws: PipeError.self) { try Tap("/nonexistent/tap") }
    }
}
