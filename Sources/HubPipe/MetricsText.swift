// The text format of Prometheus (exposition format 0.0.4), as node_exporter's textfile collector reads it.

/// One stage's metrics. Every sample has the label `stage`.
package struct MetricsText: Sendable {
    private let stage: String
    /// The lines of each metric, together, in the order of their first sample.
    private var families: [[UInt8]] = []
    private var positions: [String: Int] = [:]

    package init(stage: String) { self.stage = stage }

    /// The text.
    package var bytes: [UInt8] { [UInt8](families.joined()) }

    /// A counter; its name ends in `_total`.
    package mutating func counter(_ name: String, _ value: Double, _ help: String = "", _ labels: KeyValuePairs<String, String> = [:]) {
        sample(name, "counter", help, labels, value)
    }

    package mutating func gauge(_ name: String, _ value: Double, _ help: String = "", _ labels: KeyValuePairs<String, String> = [:]) {
        sample(name, "gauge", help, labels, value)
    }

    package mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
        let family = family(name, "histogram", help)
        var count = 0
        for (bound, number) in zip(Histogram.bounds, histogram.counts) {
            count += number
            line(family, "\(name)_bucket", [("le", Self.text(bound))], Double(count))
        }
        line(family, "\(name)_bucket", [("le", "+Inf")], Double(histogram.count))
        line(family, "\(name)_sum", [], histogram.sum)
        line(family, "\(name)_count", [], Double(histogram.count))
    }

    private mutating func sample(
        _ name: String, _ type: String, _ help: String, _ labels: KeyValuePairs<String, String>, _ value: Double
    ) {
        line(family(name, type, help), name, labels.map { ($0.key, $0.value) }, value)
    }

    private mutating func family(_ name: String, _ type: String, _ help: String) -> Int {
        if let position = positions[name] { return position }
        let help = help.isEmpty ? "" : "# HELP \(name) \(help)\n"
        families.append(Array("\(help)# TYPE \(name) \(type)\n".utf8))
        positions[name] = families.count - 1
        return families.count - 1
    }

    private mutating func line(_ family: Int, _ name: String, _ labels: [(String, String)], _ value: Double) {
        let all = [("stage", stage)] + labels
        let text = all.map { "\($0.0)=\"\(Self.escape($0.1))\"" }.joined(separator: ",")
        families[family].append(contentsOf: "\(name){\(text)} \(Self.text(value))\n".utf8)
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }
}

/// How many observations, in seconds, fell under each bound.
package struct Histogram: Sendable, Equatable {
    package static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

    package private(set) var counts = [Int](repeating: 0, count: bounds.count)
    package private(set) var count = 0
    package private(set) var sum = 0.0

    package init() {}

    package mutating func observe(_ seconds: Double) {
        count += 1
        sum += seconds
        // Few bounds, and most observations are small.
        if let position = Self.bounds.firstIndex(where: { seconds <= $0 }) { counts[position] += 1 }
    }
}
