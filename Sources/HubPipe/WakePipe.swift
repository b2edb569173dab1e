// How event loops wake the poll loop: an input of empty lines, which every stage ignores.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A pipe whose reading end is one of the inputs.
package final class WakePipe: Sendable {
    private let writingEnd: Int32
    private let readingEnd: Int32

    package init() throws(PipeError) {
        var ends: [Int32] = [-1, -1]
        let result = unsafe ends.withUnsafeMutableBufferPointer { unsafe pipe($0.baseAddress) }
        guard result == 0 else { throw PipeError(.system, "cannot make a pipe") }
        readingEnd = ends[0]
        writingEnd = ends[1]
    }

    /// The reading end as an input; once.
    package func reader() -> LineReader {
        LineReader(Descriptor(adopting: readingEnd), name: "wake-up", maxLine: 64, isInternal: true)
    }

    /// From any thread. At most one call is outstanding at a time, so the pipe cannot fill.
    package func wake() { _ = RawDescriptor.writeSome(writingEnd, [0x0a]) }
}
