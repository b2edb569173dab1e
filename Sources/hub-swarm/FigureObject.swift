// The figures of a run as one line of JSON, members in the order in which they were added.

internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubSwarm

struct FigureObject {
    private(set) var bytes: [UInt8] = [0x7b]

    mutating func add(_ name: String, _ value: String) {
        member(name)
        JSONText.appendString(value.utf8, to: &bytes)
    }

    mutating func add(_ name: String, _ value: Int) {
        member(name)
        bytes.append(decimal: Int64(value))
    }

    mutating func add(_ name: String, _ value: Bool) {
        member(name)
        bytes.append(value ? "true" : "false")
    }

    /// With three decimals.
    mutating func add(_ name: String, _ value: Double) {
        member(name)
        guard value.isFinite, value.magnitude < 1e12 else { return bytes.append("0") }
        let thousandths = Int64((value.magnitude * 1000).rounded())
        if value < 0 { bytes.append(0x2d) }
        bytes.append(decimal: thousandths / 1000)
        let digits = String(thousandths % 1000)
        bytes.append(0x2e)
        bytes.append(contentsOf: String(repeating: "0", count: 3 - digits.count).utf8)
        bytes.append(contentsOf: digits.utf8)
    }

    mutating func add(_ name: String, _ object: FigureObject) {
        member(name)
        bytes.append(contentsOf: object.closed)
    }

    mutating func add(_ name: String, _ objects: [FigureObject]) {
        member(name)
        bytes.append(0x5b)
        for (position, object) in objects.enumerated() {
            if position > 0 { bytes.append(0x2c) }
            bytes.append(contentsOf: object.closed)
        }
        bytes.append(0x5d)
    }

    /// Percentiles in microseconds.
    mutating func add(_ name: String, _ histogram: LatencyHistogram) {
        var object = FigureObject()
        object.add("samples", histogram.count)
        object.add("mean", Int(histogram.mean))
        object.add("p50", Int(histogram.percentile(50)))
        object.add("p90", Int(histogram.percentile(90)))
        object.add("p99", Int(histogram.percentile(99)))
        object.add("p99.9", Int(histogram.percentile(99.9)))
        object.add("max", Int(histogram.max))
        add(name, object)
    }

    mutating func add(_ name: String, _ causes: Causes) {
        var object = FigureObject()
        for (cause, count) in causes.counts.sorted(by: { $0.key < $1.key }) { object.add(cause, count) }
        add(name, object)
    }

    private var closed: [UInt8] { bytes + [0x7d] }

    private mutating func member(_ name: String) {
        if bytes.count > 1 { bytes.append(0x2c) }
        JSONText.appendString(name.utf8, to: &bytes)
        bytes.append(0x3a)
    }

    /// Writes the object and a newline to standard output.
    func print() throws {
        var rest = (closed + [0x0a])[...]
        while !rest.isEmpty {
            guard let count = RawDescriptor.writeSome(1, rest) else { throw Failure(.inputOutput, "cannot write standard output") }
            rest = rest.dropFirst(count)
        }
    }
}
