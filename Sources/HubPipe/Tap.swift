// A copy of an output for whoever wants to look (design: "Command line, logs, signals", `--tap`).
//
// While something reads the FIFO, it gets each line that leaves, whole. It is never waited for: what it does not take is dropped and
// counted, again as whole lines. Without a reader the FIFO is tried ten times a second, and nothing is copied.
// A mirror (`--mirror`) differs in one thing: it is waited for, and drops nothing while its reader lives.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The FIFO at one path. Used by one thread.
package final class Tap {
    package let path: String
    /// The reader is waited for.
    private let isMirror: Bool
    /// Lines that a reader got, and lines that one missed.
    package private(set) var copied = 0
    package private(set) var dropped = 0

    private var descriptor: Descriptor?
    private var nextTry: Int64 = 0
    /// The next byte of the output begins a line.
    private var isAtLineStart = true
    /// The reader does not get what is left of the current line.
    private var isSkipping = false
    /// The reader has a part of the current line, and must get the rest of it.
    private var isWithinLine = false
    /// What the reader has not taken yet: at most the rest of one line, or what a mirror waits for.
    private var rest: [UInt8] = []

    private static let retryInterval: Int64 = 100_000_000
    /// Linux lets anybody make a pipe this long; more of a burst fits in it.
    private static let pipeSize: Int32 = 1 << 20

    /// What may wait for the reader of a mirror before the output waits.
    private static let mostBehind = 1 << 20

    /// Makes the FIFO at `path` if nothing is there.
    /// - Throws: when it cannot be made, or something else is there.
    package init(_ path: String, isMirror: Bool = false) throws(PipeError) {
        self.path = path
        self.isMirror = isMirror
        try Descriptor.makeFIFO(path)
    }

    /// Something waits for the reader.
    var wantsWrite: Bool { !rest.isEmpty }

    /// The output must wait for the reader.
    var isBehind: Bool { isMirror && rest.count >= Self.mostBehind }
    var raw: Int32? { descriptor?.raw }

    /// Copies what has just left the output.
    func take(_ bytes: UnsafeRawBufferPointer) {
        guard let last = unsafe bytes.last else { return }
        defer { isAtLineStart = last == 0x0a }
        guard isOpen() else { return }
        var left = unsafe bytes
        if isWithinLine, !isMirror, !rest.isEmpty {
            // Behind what already waits.
            let count = unsafe Newlines.end(left) ?? left.count
            unsafe keep(UnsafeRawBufferPointer(rebasing: left[..<count]))
            unsafe left = UnsafeRawBufferPointer(rebasing: left[count...])
        }
        if isSkipping {
            guard let end = unsafe Newlines.end(left) else { return }
            isSkipping = false
            unsafe left = UnsafeRawBufferPointer(rebasing: left[end...])
        }
        flush()
        if unsafe !left.isEmpty, descriptor != nil { unsafe offer(left) }
    }

    /// Writes what waits.
    func flush() {
        guard !rest.isEmpty, descriptor != nil else { return }
        let count = unsafe rest.withUnsafeBytes { unsafe write($0) }
        // The reader may have gone, and what waited with it.
        rest.removeFirst(min(count, rest.count))
    }

    private func offer(_ bytes: UnsafeRawBufferPointer) {
        let count = unsafe rest.isEmpty ? write(bytes) : 0
        guard descriptor != nil else { return }
        if isMirror {
            unsafe rest.append(contentsOf: bytes[count...])
            unsafe copied += Newlines.count(bytes)
            return
        }
        unsafe copied += Newlines.count(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        if count > 0 { isWithinLine = unsafe bytes[count - 1] != 0x0a }
        guard count < bytes.count else { return }
        var left = unsafe UnsafeRawBufferPointer(rebasing: bytes[count...])
        if isWithinLine {
            let end = unsafe Newlines.end(left) ?? left.count
            unsafe keep(UnsafeRawBufferPointer(rebasing: left[..<end]))
            unsafe left = UnsafeRawBufferPointer(rebasing: left[end...])
        }
        guard let last = unsafe left.last else { return }
        unsafe dropped += Newlines.count(left)
        if last != 0x0a {
            dropped += 1
            isSkipping = true
        }
    }

    /// Holds a part of the current line until the reader takes it.
    private func keep(_ bytes: UnsafeRawBufferPointer) {
        unsafe rest.append(contentsOf: bytes)
        guard unsafe bytes.last == 0x0a else { return }
        isWithinLine = false
        copied += 1
    }

    /// - Returns: bytes written; the reader may have gone.
    private func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let raw = descriptor?.raw else { return 0 }
        while true {
            let count = unsafe Self.systemWrite(raw, bytes.baseAddress, bytes.count)
            if count >= 0 { return count }
            switch CHub_errno() {
            case EINTR: continue
            case EAGAIN: return 0
            default:
                close()
                return 0
            }
        }
    }

    private static func systemWrite(_ descriptor: Int32, _ start: UnsafeRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
            unsafe Glibc.write(descriptor, start, count)
        #else
            unsafe Musl.write(descriptor, start, count)
        #endif
    }

    private func isOpen() -> Bool {
        if descriptor != nil { return true }
        let now = monotonicNanoseconds()
        guard now >= nextTry else { return false }
        nextTry = now + Self.retryInterval
        let raw = unsafe CHub_open(path, O_WRONLY | O_NONBLOCK, 0)
        guard raw >= 0 else { return false }
        CHub_set_pipe_size(raw, Self.pipeSize)
        descriptor = Descriptor(adopting: raw)
        isSkipping = !isAtLineStart
        isWithinLine = false
        return true
    }

    private func close() {
        descriptor = nil
        rest = []
        isSkipping = false
        isWithinLine = false
    }
}
