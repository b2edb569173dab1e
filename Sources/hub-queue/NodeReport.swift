// What is known of each node, from the state file and from what hub-keepalive has seen.

internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubStore

/// One node, as `hub-queue nodes` shows it. Times are milliseconds since 1970.
struct NodeReport {
    let name: [UInt8]
    let session: Int64?
    let since: Int64
    let pending: Int
    let acknowledged: Int
    /// The timestamp of the oldest message that waits; nil when none does, or it has none.
    let oldest: Int64?
    /// What the node last said to a message that it refused and that is still pending.
    let lastError: [UInt8]?
    /// From hub-keepalive.
    let remote: String?
    let lastSeen: Int64?
    /// From the hub-queue that serves.
    let inFlight: Int?

    private static let chunk = 500

    /// - Parameters:
    ///   - seen: the status file of hub-keepalive.
    ///   - flights: the status file of hub-queue.
    static func all(_ reader: StateReader, seen: String?, flights: String?) throws(Failure) -> [NodeReport] {
        let nodes = try reporting { () throws(StoreError) in try reader.nodes() }
        var pending = try reporting { () throws(StoreError) in try reader.counts(.pending) }
        let acknowledged = try reporting { () throws(StoreError) in try reader.counts(.acknowledged) }
        let errors = try reporting { () throws(StoreError) in try reader.errors() }
        var oldest: [Int64: Int64] = [:]
        for row in try reporting({ () throws(StoreError) in try reader.oldest() }) {
            unsafe row.line.withUnsafeBytes { raw in
                guard let line = try? unsafe Line.scan(raw) else { return }
                oldest[row.node] = timestamp(line)
            }
        }
        try addRecent(reader, nodes, &pending, &oldest)
        let sightings = try seen.map { path throws(Failure) in try objects(path) } ?? [:]
        let inFlight = try flights.map { path throws(Failure) in try objects(path) }
        return nodes.map { node in
            let name = String(decoding: node.name, as: UTF8.self)
            let sighting = sightings[name]
            return NodeReport(
                name: node.name, session: reader.isServed ? node.session : nil, since: node.since / 1000, pending: pending[node.id] ?? 0,
                acknowledged: acknowledged[node.id] ?? 0, oldest: oldest[node.id], lastError: errors[node.id],
                remote: sighting?.text("remote"),
                lastSeen: sighting?.integer("last_seen").map { $0 * 1000 },
                inFlight: inFlight.map { $0[name]?.integer("in_flight").map { Int($0) } ?? 0 })
        }
    }

    /// Messages that a serving process holds in memory: their rows name no node, their lines do.
    private static func addRecent(
        _ reader: StateReader, _ nodes: [StateReader.KnownNode], _ pending: inout [Int64: Int], _ oldest: inout [Int64: Int64]
    ) throws(Failure) {
        var ids: [[UInt8]: Int64] = [:]
        for node in nodes { ids[node.name] = node.id }
        var after: Int64 = 0
        while true {
            let rows = try reporting { () throws(StoreError) in try reader.recent(after: after, limit: chunk) }
            for row in rows {
                unsafe row.line.withUnsafeBytes { raw in
                    guard let line = try? unsafe Line.scan(raw), let id = ids[line.value(line.index.hub.node)] else { return }
                    pending[id, default: 0] += 1
                    if let time = timestamp(line) { oldest[id] = min(oldest[id] ?? .max, time) }
                }
            }
            guard let last = rows.last else { return }
            after = last.id
        }
    }

    private static func timestamp(_ line: Line) -> Int64? {
        guard let time = Int64(line.string(line.index.header.timestamp)), time > 0 else { return nil }
        return time
    }

    /// The objects of a status file, by node.
    private static func objects(_ path: String) throws(Failure) -> [String: FlatJSON] {
        let bytes: [UInt8]
        do throws(PipeError) {
            bytes = try Descriptor.contents(of: path, limit: 64 << 20)
        } catch {
            throw Failure(error.isPermission ? .noPermission : .noInput, error.description)
        }
        var result: [String: FlatJSON] = [:]
        for text in bytes.split(separator: 0x0a) {
            guard let object = FlatJSON(text), let node = object.text("node") else { continue }
            result[node] = object
        }
        return result
    }
}
