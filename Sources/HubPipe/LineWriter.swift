// Lines to a descriptor: collected while a batch of input is handled, then written with one call.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// One output of a stage. `append` never waits; `flush` writes what the reader takes.
package final class LineWriter {
    /// For messages: `standard output`, or the path.
    package let name: String
    /// Lines are added here; each with its newline.
    package var buffer: [UInt8] = []
    /// Get a copy of what leaves.
    package var taps: [Tap] = []

    /// Bytes, and if they are counted lines, that have left.
    package private(set) var bytesWritten = 0
    package private(set) var linesWritten = 0
    package var countsLines = false

    let descriptor: Descriptor
    private var written = 0

    package init(_ descriptor: consuming Descriptor, name: String) {
        self.descriptor = descriptor
        self.name = name
        buffer.reserveCapacity(128 << 10)
    }

    package static func standardOutput() throws(PipeError) -> LineWriter {
        LineWriter(try Descriptor.standardOutput(), name: "standard output")
    }

    /// Opens a FIFO or a regular file (appended); `-` means standard output.
    /// - Parameter waiting: called once when a FIFO has no reader yet.
    package static func open(_ path: String, waiting: () -> Void = {}) throws(PipeError) -> LineWriter {
        guard path != "-" else { return try standardOutput() }
        return LineWriter(try Descriptor.output(path, waiting: waiting), name: path)
    }

    /// Bytes that the reader has not taken.
    package var pending: Int { buffer.count - written }

    /// Gives up what the reader has not taken; it may have got a part of a line.
    package func discard() {
        buffer = []
        written = 0
    }

    /// Waits until what was written to a regular file is on the disk.
    package func sync() throws(PipeError) {
        guard fsync(descriptor.raw) != 0 else { return }
        throw PipeError(.write, "cannot write \(name)", errno: CHub_errno())
    }

    /// Writes until everything is written, or the reader or a mirror's reader is full.
    package func flush() throws(PipeError) {
        while written < buffer.count {
            if taps.contains(where: \.isBehind) { return }
            let count = unsafe buffer.withUnsafeBytes { bytes in
                unsafe write(descriptor.raw, bytes.baseAddress?.advanced(by: written), min(bytes.count - written, 1 << 20))
            }
            if count >= 0 {
                for tap in taps {
                    unsafe buffer.withUnsafeBytes { unsafe tap.take(UnsafeRawBufferPointer(rebasing: $0[written..<written + count])) }
                }
                if countsLines {
                    linesWritten += unsafe buffer.withUnsafeBytes {
                        unsafe Newlines.count(UnsafeRawBufferPointer(rebasing: $0[written..<written + count]))
                    }
                }
                bytesWritten += count
                written += count
                continue
            }
            switch CHub_errno() {
            case EINTR: continue
            case EAGAIN:
                // What is written is given back in large steps, so that a slow reader does not cost a move per write.
                if written > 1 << 20, written > buffer.count / 2 {
                    buffer.removeFirst(written)
                    written = 0
                }
                return
            case EPIPE: throw PipeError(.readerGone, "the reader of \(name) has gone")
            case let failure: throw PipeError(.write, "cannot write \(name)", errno: failure)
            }
        }
        written = 0
        if buffer.capacity > 4 << 20 {
            buffer = []
            buffer.reserveCapacity(128 << 10)
        } else {
            buffer.removeAll(keepingCapacity: true)
        }
    }
}
