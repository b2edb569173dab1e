// Notices nodes that have fallen silent (design: hub-keepalive), where KubeEdge v1.23.1 keeps one goroutine and timer per node.
// Differs from KubeEdge: every line of a node is a sign of life, not only `keepalive`.

package import HubMessage

/// The nodes that are connected, and when each was last heard. Lines and the time go in, lines come out.
package struct KeepaliveMonitor: Sendable {
    /// Where output goes; lines are appended.
    package struct Output: Sendable {
        /// To `hub-dispatch up`.
        package var live: [UInt8] = []
        /// To `hub-wsserve`.
        package var control: [UInt8] = []

        package init() {}
    }

    package struct Counters: Sendable, Equatable {
        package var keepalives = 0
        package var passed = 0
        package var timeouts = 0
        package var resets = 0
    }

    /// What is known of one connected node.
    package struct Node: Sendable, Equatable {
        package var session: Int64
        /// Address of the peer, as the transport gave it.
        package var remote: String
        /// Milliseconds since 1970, from the line that told of the connection; 0 when only data was seen.
        package var connectedSince: Int64
        /// Microseconds since 1970.
        package var lastSeen: Int64
        fileprivate var heard: Int64

        /// - Parameters:
        ///   - now: of the liveness clock.
        ///   - time: microseconds since 1970.
        fileprivate mutating func hear(now: Int64, time: Int64, session: Int64?) {
            heard = now
            lastSeen = time
            if let session, session > self.session { self.session = session }
        }
    }

    package private(set) var counters = Counters()
    private let timeout: Int64
    private let width: Int64
    private var table = NodeTable()
    private var nodes: [Node?] = []
    private var clock: LivenessClock
    private var wheel: TimerWheel
    /// Ids whose timer still runs although the node is gone; reused only after the timer has fired.
    private var retired: Set<Int> = []

    /// - Parameters:
    ///   - timeout: nanoseconds of silence after which a node is closed.
    ///   - now: monotonic nanoseconds.
    package init(timeout: Int64, now: Int64) {
        self.timeout = timeout
        width = min(250_000_000, max(1_000_000, timeout / 100))
        clock = LivenessClock(now: now)
        wheel = TimerWheel(span: timeout, width: width)
    }

    /// Number of nodes that are connected.
    package var count: Int { table.count - retired.count }

    /// The monotonic time at which `tick` must be called, nil while no node is connected.
    package func deadline(now: Int64) -> Int64? {
        nodes.isEmpty || table.count == 0 ? nil : now + min(width * 2, LivenessClock.maxStep / 2)
    }

    /// The question that the monitor asks when it starts.
    package static func question(time: Int64) -> EventLine { EventLine(.who, time: time) }

    /// Lets time pass, and closes the nodes that have been silent too long.
    /// - Parameters:
    ///   - isListening: input was being read since the last call.
    ///   - time: microseconds since 1970.
    package mutating func tick(now: Int64, isListening: Bool, time: Int64, _ output: inout Output) {
        clock.advance(to: now, isListening: isListening)
        var due: [Int] = []
        wheel.expire(now: clock.now) { due.append($0) }
        for id in due { fire(id, time, &output) }
    }

    private mutating func fire(_ id: Int, _ time: Int64, _ output: inout Output) {
        guard var node = nodes[id] else {
            if retired.remove(id) != nil { table.remove(id) }
            return
        }
        if clock.now - node.heard >= timeout {
            counters.timeouts += 1
            EventLine(.close, node: table.name(id), session: node.session, reason: "keepalive timeout", time: time)
                .append(to: &output.control)
            // Until the transport confirms, the node is asked for again after another silence.
            node.heard = clock.now
            nodes[id] = node
        }
        wheel.insert(id, due: node.heard + timeout)
    }

    // MARK: Lines

    /// Takes one inner line of the transport.
    /// - Returns: why the line is refused, nil when it is taken.
    package mutating func take(_ line: Line, time: Int64, _ output: inout Output) -> String? {
        guard line.isInner else { return "no envelope: this stage reads what the transport writes" }
        do throws(MessageError) { try line.checkEnvelope() } catch { return error.description }
        switch line.kind {
        case .up: data(line, time, &output)
        case .event: return event(line, time, &output)
        default: return "not from a node: kind \(line.string(line.index.hub.kind))"
        }
        return nil
    }

    private mutating func data(_ line: Line, _ time: Int64, _ output: inout Output) {
        let id = unsafe line.withValue(line.index.hub.node) { unsafe intern($0) }
        // One access: each would check anew that the array is not shared.
        if nodes[id]?.hear(now: clock.now, time: time, session: line.index.hub.session) == nil {
            add(id, session: line.index.hub.session ?? 0, remote: "", since: 0, time)
        }
        if line.equals(line.index.route.operation, "keepalive") {
            counters.keepalives += 1
        } else {
            counters.passed += 1
            line.appendUnchanged(to: &output.live)
        }
    }

    private mutating func event(_ line: Line, _ time: Int64, _ output: inout Output) -> String? {
        switch line.event {
        case .connected:
            let id = unsafe line.withValue(line.index.hub.node) { unsafe intern($0) }
            let session = line.index.hub.session ?? 0
            if session >= nodes[id]?.session ?? 0 {
                let since = Int64(line.string(line.index.header.timestamp)) ?? time / 1000
                add(id, session: session, remote: Self.remote(line), since: since, time)
            }
        case .disconnected:
            let session = line.index.hub.session ?? 0
            if let id = unsafe line.withValue(line.index.hub.node, { unsafe table.find($0) }), let node = nodes[id], node.session <= session
            {
                drop(id)
            }
        case .reset:
            counters.resets += 1
            for id in 0..<nodes.count {
                guard let node = nodes[id] else { continue }
                EventLine(.disconnected, node: table.name(id), session: node.session, reason: "transport restarted", time: time)
                    .append(to: &output.live)
                drop(id)
            }
        case .live: break
        case .close, .who, nil: return "this event goes to the transport, not up"
        }
        counters.passed += 1
        line.appendUnchanged(to: &output.live)
        return nil
    }

    private mutating func intern(_ name: UnsafeRawBufferPointer) -> Int {
        let id = unsafe table.intern(name)
        while nodes.count <= id { nodes.append(nil) }
        return id
    }

    private mutating func add(_ id: Int, session: Int64, remote: String, since: Int64, _ time: Int64) {
        // A timer that still runs for this name is taken over.
        let isTimed = nodes[id] != nil || retired.remove(id) != nil
        nodes[id] = Node(session: session, remote: remote, connectedSince: since, lastSeen: time, heard: clock.now)
        if !isTimed { wheel.insert(id, due: clock.now + timeout) }
    }

    private mutating func drop(_ id: Int) {
        nodes[id] = nil
        retired.insert(id)
    }

    /// `content.remote` of an event. Events are rare, so the content is searched here rather than in every line's scan.
    private static func remote(_ line: Line) -> String {
        unsafe ContentMember.string("remote", in: line.raw(line.index.content.value))
    }

    // MARK: Status

    /// The nodes that are connected, as JSON lines: node, session, remote, connected_since and last_seen (seconds since 1970).
    package func status() -> [UInt8] {
        var output: [UInt8] = []
        for (id, node) in nodes.enumerated() {
            guard let node else { continue }
            output.append("{\"node\":")
            JSONText.appendString(table.bytes(id), to: &output)
            output.append(",\"session\":")
            output.append(decimal: node.session)
            output.append(",\"remote\":")
            JSONText.appendString(node.remote.utf8, to: &output)
            output.append(",\"connected_since\":")
            output.append(decimal: node.connectedSince / 1000)
            output.append(",\"last_seen\":")
            output.append(decimal: node.lastSeen / 1_000_000)
            output.append("}\n")
        }
        return output
    }
}
