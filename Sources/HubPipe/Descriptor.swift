// Owned file descriptors, and the ways in which the hub opens files and FIFOs.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// An open file descriptor; closed when it goes out of use.
package struct Descriptor: ~Copyable {
    package let raw: Int32

    /// Takes over `raw`.
    package init(adopting raw: Int32) { self.raw = raw }

    deinit { _ = close(raw) }

    /// Opens an input file or FIFO. A FIFO opens at once, whether or not it has a writer;
    /// it must be read only once it is reported readable, because before the first writer it looks ended.
    package static func input(_ path: String) throws(PipeError) -> Descriptor {
        let raw = unsafe CHub_open(path, O_RDONLY | O_NONBLOCK, 0)
        guard raw >= 0 else { throw PipeError(.openForReading, "cannot open \(path)", errno: CHub_errno()) }
        guard CHub_file_type(raw) != Int32(S_IFDIR) else {
            _ = close(raw)
            throw PipeError(.openForReading, "cannot read \(path)", errno: EISDIR)
        }
        return Descriptor(adopting: raw)
    }

    /// Makes the FIFO at `path` if nothing is there, readable and writable for its owner only.
    /// - Throws: when it cannot be made, or something else is there.
    package static func makeFIFO(_ path: String) throws(PipeError) {
        if unsafe mkfifo(path, 0o600) != 0, CHub_errno() != EEXIST {
            throw PipeError(.create, "cannot create the FIFO \(path)", errno: CHub_errno())
        }
        var status = stat()
        guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else {
            throw PipeError(.create, "\(path) is no FIFO")
        }
    }

    /// Opens the FIFO at `path` so that it never ends: this process itself holds its other end.
    package static func endlessInput(_ path: String) throws(PipeError) -> Descriptor {
        try makeFIFO(path)
        let raw = unsafe CHub_open(path, O_RDWR | O_NONBLOCK, 0)
        guard raw >= 0 else { throw PipeError(.openForReading, "cannot open \(path)", errno: CHub_errno()) }
        return Descriptor(adopting: raw)
    }

    /// Opens an output: a FIFO, or a regular file to append to, which is created with mode 0600.
    ///
    /// A FIFO without reader is tried again for `patience` nanoseconds.
    /// - Parameter waiting: called once when the wait begins.
    package static func output(
        _ path: String, patience: Int64 = 10_000_000_000, waiting: () -> Void = {}
    ) throws(PipeError) -> Descriptor {
        let deadline = monotonicNanoseconds() + patience
        var said = false
        while true {
            let raw = unsafe CHub_open(path, O_WRONLY | O_NONBLOCK | O_APPEND | O_CREAT, 0o600)
            if raw >= 0 { return Descriptor(adopting: raw) }
            let failure = CHub_errno()
            guard failure == ENXIO else { throw PipeError(.create, "cannot open \(path) for writing", errno: failure) }
            guard monotonicNanoseconds() < deadline else {
                throw PipeError(.create, "nobody reads the FIFO \(path)")
            }
            if !said {
                waiting()
                said = true
            }
            _ = usleep(20_000)
        }
    }

    /// Standard output as a non-blocking descriptor of its own.
    ///
    /// A pipe is opened anew through `/proc`, because the flag belongs to the open file, which the parent shell may share.
    package static func standardOutput() throws(PipeError) -> Descriptor {
        try duplicate(1, O_WRONLY)
    }

    /// Standard input, likewise.
    package static func standardInput() throws(PipeError) -> Descriptor {
        try duplicate(0, O_RDONLY)
    }

    private static func duplicate(_ number: Int32, _ mode: Int32) throws(PipeError) -> Descriptor {
        let type = CHub_file_type(number)
        guard type >= 0 else {
            throw PipeError(mode == O_RDONLY ? .openForReading : .create, "descriptor \(number) is closed", errno: CHub_errno())
        }
        if type == Int32(S_IFIFO) {
            let raw = unsafe CHub_open("/proc/self/fd/\(number)", mode | O_NONBLOCK, 0)
            if raw >= 0 {
                let fresh = Descriptor(adopting: raw)
                // A FIFO opened after its last writer left looks as if none had come yet; the descriptor that the shell opened knows.
                if mode != O_RDONLY || !hasHungUp(number) { return fresh }
            }
        }
        let raw = dup(number)
        guard raw >= 0 else { throw PipeError(.system, "cannot duplicate descriptor \(number)", errno: CHub_errno()) }
        // A terminal, socket or regular file keeps its flags: the owner is another process; the poll loop asks before it reads or writes.
        return Descriptor(adopting: raw)
    }

    /// All writers of a pipe have gone.
    private static func hasHungUp(_ number: Int32) -> Bool {
        var entry = pollfd(fd: number, events: 0, revents: 0)
        return unsafe poll(&entry, 1, 0) == 1 && Int32(entry.revents) & Int32(POLLHUP) != 0
    }
}

extension Descriptor {
    /// The whole of a small file.
    /// - Throws: when it cannot be read, or is longer than `limit` bytes.
    package static func contents(of path: String, limit: Int) throws(PipeError) -> [UInt8] {
        let descriptor = try input(path)
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe part.withUnsafeMutableBytes { unsafe read(descriptor.raw, $0.baseAddress, $0.count) }
            if count == 0 { return bytes }
            guard count > 0 else {
                if CHub_errno() == EINTR { continue }
                throw PipeError(.openForReading, "cannot read \(path)", errno: CHub_errno())
            }
            bytes.append(contentsOf: part[..<count])
            guard bytes.count <= limit else { throw PipeError(.openForReading, "\(path) is longer than \(limit) bytes") }
        }
    }
}
