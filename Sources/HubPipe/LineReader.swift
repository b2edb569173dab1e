// Lines from a descriptor: 64 KiB a read, no copy per line, over-long lines skipped without being held.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// One input of a stage. Memory is bounded by the longest accepted line plus one read.
@safe package final class LineReader {
    /// What one read brought.
    package enum ReadResult: Sendable, Equatable {
        case bytes(Int)
        case wouldBlock
        case end
    }

    /// A piece of input for the stage.
    @unsafe package enum Piece {
        /// A line without its newline, never empty.
        case line(UnsafeRawBufferPointer, number: Int)
        /// A part of a line longer than the limit; the last part has `isLast`.
        case overlong(UnsafeRawBufferPointer, number: Int, isLast: Bool)
    }

    /// Bytes asked for by one read.
    package static let readSize = 64 << 10

    /// `-` for standard input, else the path.
    package let name: String
    package private(set) var hasEnded = false
    /// Its writers may come and go; a stage ends without it.
    package let isEndless: Bool
    /// It only wakes the loop, and has no lines.
    package let isInternal: Bool

    let descriptor: Descriptor
    private let maxLine: Int
    private var buffer: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0
    /// Bytes from `start` in which no newline was found.
    private var searched = 0
    // What other modules read is checked for overlapping access at run time, in every line; what is private is checked by the compiler.
    private var lines = 0
    private var bytes = 0
    package var lineNumber: Int { lines }
    package var bytesRead: Int { bytes }
    private var isSkipping = false

    /// - Parameter maxLine: longest line, in bytes without its newline.
    package init(_ descriptor: consuming Descriptor, name: String, maxLine: Int, isEndless: Bool = false, isInternal: Bool = false) {
        self.isEndless = isEndless
        self.isInternal = isInternal
        self.descriptor = descriptor
        self.name = name
        self.maxLine = maxLine
        unsafe buffer = .allocate(byteCount: 2 * Self.readSize, alignment: 16)
    }

    deinit { unsafe buffer.deallocate() }

    /// Opens `path`, where `-` means standard input.
    package static func open(_ path: String, maxLine: Int) throws(PipeError) -> LineReader {
        let descriptor = path == "-" ? try Descriptor.standardInput() : try Descriptor.input(path)
        return LineReader(descriptor, name: path, maxLine: maxLine)
    }

    /// Opens a FIFO, made if it is not there, that others write to now and then.
    package static func openEndless(_ path: String, maxLine: Int) throws(PipeError) -> LineReader {
        LineReader(try Descriptor.endlessInput(path), name: path, maxLine: maxLine, isEndless: true)
    }

    /// Reads once.
    package func read() throws(PipeError) -> ReadResult {
        guard !hasEnded else { return .end }
        makeRoom()
        while true {
            let target = unsafe buffer.baseAddress?.advanced(by: end)
            let count = unsafe Self.systemRead(descriptor.raw, target, min(Self.readSize, buffer.count - end))
            if count > 0 {
                end += count
                bytes += count
                return .bytes(count)
            }
            if count == 0 {
                hasEnded = true
                return .end
            }
            switch CHub_errno() {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case let failure: throw PipeError(.read, "cannot read \(name == "-" ? "standard input" : name)", errno: failure)
            }
        }
    }

    private static func systemRead(_ descriptor: Int32, _ target: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
            unsafe Glibc.read(descriptor, target, count)
        #else
            unsafe Musl.read(descriptor, target, count)
        #endif
    }

    /// The next complete piece, nil when more must be read. The bytes are valid until the next `read`.
    /// After the end of input the last line counts without its newline.
    package func next() -> Piece? {
        while true {
            let length = end - start
            guard let base = unsafe buffer.baseAddress?.advanced(by: start) else { return nil }
            if let found = unsafe memchr(base + searched, 0x0a, length - searched) {
                let count = unsafe UnsafeRawPointer(found) - UnsafeRawPointer(base)
                start += count + 1
                searched = 0
                lines += 1
                let line = unsafe UnsafeRawBufferPointer(start: base, count: count)
                if isSkipping || count > maxLine {
                    isSkipping = false
                    return unsafe .overlong(line, number: lines, isLast: true)
                }
                // Empty lines are ignored everywhere: a restarted stage begins its outputs with one.
                if count == 0 { continue }
                return unsafe .line(line, number: lines)
            }
            searched = length
            if hasEnded {
                guard length > 0 || isSkipping else { return nil }
                start = end
                searched = 0
                lines += 1
                let line = unsafe UnsafeRawBufferPointer(start: base, count: length)
                if isSkipping || length > maxLine {
                    isSkipping = false
                    return unsafe .overlong(line, number: lines, isLast: true)
                }
                return unsafe .line(line, number: lines)
            }
            guard isSkipping || length > maxLine else { return nil }
            guard length > 0 else { return nil }
            isSkipping = true
            start = end
            searched = 0
            return unsafe .overlong(UnsafeRawBufferPointer(start: base, count: length), number: lines + 1, isLast: false)
        }
    }

    /// Moves what is left to the front, grows for a long line, and shrinks after one.
    private func makeRoom() {
        let length = end - start
        if length == 0 {
            start = 0
            end = 0
            if unsafe buffer.count > 8 * Self.readSize {
                unsafe buffer.deallocate()
                unsafe buffer = .allocate(byteCount: 2 * Self.readSize, alignment: 16)
            }
            return
        }
        if unsafe buffer.count - end >= Self.readSize { return }
        if unsafe length + Self.readSize <= buffer.count, length <= Self.readSize {
            unsafe move(to: buffer)
            return
        }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * length + 2 * Self.readSize, alignment: 16)
        unsafe move(to: larger)
        unsafe buffer.deallocate()
        unsafe buffer = unsafe larger
    }

    private func move(to target: UnsafeMutableRawBufferPointer) {
        let length = end - start
        if let from = unsafe buffer.baseAddress, let to = target.baseAddress {
            unsafe memmove(to, from + start, length)
        }
        start = 0
        end = length
    }
}
