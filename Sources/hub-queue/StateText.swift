// JSON lines about the state, to standard output.

internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubStore

/// Lines for standard output, written in large pieces.
struct StateText {
    var bytes: [UInt8] = []
    private static let pieceSize = 256 << 10

    /// Appends `,"name":"value"`, or without the comma after a brace.
    mutating func member(_ name: StaticString, text: some Sequence<UInt8>) {
        key(name)
        JSONText.appendString(text, to: &bytes)
    }

    mutating func member(_ name: StaticString, number: Int64) {
        key(name)
        bytes.append(decimal: number)
    }

    mutating func member(_ name: StaticString, flag: Bool) {
        key(name)
        if flag { bytes.append("true") } else { bytes.append("false") }
    }

    mutating func member(_ name: StaticString, texts: [some Sequence<UInt8>]) {
        key(name)
        bytes.append(0x5b)
        for (position, text) in texts.enumerated() {
            if position > 0 { bytes.append(0x2c) }
            JSONText.appendString(text, to: &bytes)
        }
        bytes.append(0x5d)
    }

    mutating func open(_ name: StaticString) {
        key(name)
        bytes.append(0x7b)
    }

    mutating func open() { bytes.append(0x7b) }
    mutating func close() { bytes.append(0x7d) }

    private mutating func key(_ name: StaticString) {
        if bytes.last != 0x7b { bytes.append(0x2c) }
        bytes.append(0x22)
        bytes.append(name)
        bytes.append("\":")
    }

    mutating func endLine() throws(Failure) {
        bytes.append("}\n")
        if bytes.count >= Self.pieceSize { try flush() }
    }

    mutating func flush() throws(Failure) {
        var left = bytes[...]
        while !left.isEmpty {
            guard let count = RawDescriptor.writeSome(1, left) else {
                throw Failure(.inputOutput, "cannot write standard output")
            }
            left = left.dropFirst(count)
        }
        bytes.removeAll(keepingCapacity: true)
    }
}

extension StateOption {
    func openReader() throws(Failure) -> StateReader {
        do throws(StoreError) {
            return try StateReader.open(state)
        } catch {
            throw Failure(error.code == .open ? .noInput : ExitStatus(error), error.description)
        }
    }
}

/// Runs `body` with errors of the state file as they are reported to the user.
func reporting<Result>(_ body: () throws(StoreError) -> Result) throws(Failure) -> Result {
    do throws(StoreError) { return try body() } catch { throw Failure(ExitStatus(error), error.description) }
}
