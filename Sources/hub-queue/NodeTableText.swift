// `hub-queue nodes --table`: one row per node, columns as wide as they must be.

internal import HubCommand
internal import HubPipe

struct NodeTableText {
    /// Milliseconds since 1970.
    let now: Int64

    private static let longestError = 60

    func append(_ reports: [NodeReport], to bytes: inout [UInt8]) {
        var rows = [["node", "state", "for", "seen", "pending", "in flight", "oldest", "has", "address", "last error"]]
        for report in reports {
            rows.append([
                String(decoding: report.name, as: UTF8.self), report.session == nil ? "offline" : "online", age(report.since),
                age(report.lastSeen), "\(report.pending)", report.inFlight.map { "\($0)" } ?? "-", age(report.oldest),
                "\(report.acknowledged)", report.remote ?? "-",
                report.lastError.map { LogText.printable(String(String(decoding: $0, as: UTF8.self).prefix(Self.longestError))) } ?? "-",
            ])
        }
        let widths = rows[0].indices.map { column in rows.reduce(0) { max($0, $1[column].count) } }
        for row in rows {
            var line = ""
            for (column, cell) in row.enumerated() {
                let pad = String(repeating: " ", count: widths[column] - cell.count)
                // Numbers and times to the right, the last column as long as it is.
                let isRight = (2...7).contains(column)
                line += column == row.count - 1 ? cell : (isRight ? pad + cell : cell + pad) + "  "
            }
            bytes.append(contentsOf: "\(line)\n".utf8)
        }
    }

    /// How long ago, in one unit.
    private func age(_ time: Int64?) -> String {
        guard let time else { return "-" }
        let seconds = max(0, (now - time) / 1000)
        switch seconds {
        case ..<120: return "\(seconds)s"
        case ..<7_200: return "\(seconds / 60)m"
        case ..<172_800: return "\(seconds / 3600)h"
        default: return "\(seconds / 86_400)d"
        }
    }
}
