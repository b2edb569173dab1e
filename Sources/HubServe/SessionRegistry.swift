// Who is connected (design: "hub-wsserve", rules 2, 4 and 6): one live session per node, and the events about it.
// A value without clock or I/O. `Handle` is whatever reaches the connection.

internal import HubMessage

package struct SessionRegistry<Handle: Sendable>: Sendable {
    /// A class, because every line looks one up: a value would copy all its strings.
    package final class Session: Sendable {
        package let node: String
        /// Microseconds since 1970; larger is newer.
        package let id: Int64
        package let handle: Handle
        package let project: String
        package let remote: String
        package let transport: String

        init(node: String, id: Int64, handle: Handle, project: String, remote: String, transport: String) {
            self.node = node
            self.id = id
            self.handle = handle
            self.project = project
            self.remote = remote
            self.transport = transport
        }
    }

    package enum Admission: Sendable, Equatable {
        /// A place is kept until `connect` or `release`.
        case admitted
        /// The node limit is reached.
        case full
    }

    private let nodeLimit: Int
    private var sessions: [String: Session] = [:]
    /// Upgrades under way, by node.
    private var reserved: [String: Int] = [:]
    private var lastID: Int64 = 0

    package init(nodeLimit: Int) { self.nodeLimit = nodeLimit }

    package var count: Int { sessions.count }

    /// The live session of a node.
    package func session(of node: String) -> Session? { sessions[node] }

    /// Keeps a place for a node about to connect. A node that is connected, or connecting, does not count again.
    package mutating func admit(_ node: String) -> Admission {
        if sessions[node] == nil, reserved[node] == nil {
            let connecting = reserved.keys.count { sessions[$0] == nil }
            guard sessions.count + connecting < nodeLimit else { return .full }
        }
        reserved[node, default: 0] += 1
        return .admitted
    }

    /// Gives a kept place back.
    package mutating func release(_ node: String) {
        guard let count = reserved[node] else { return }
        reserved[node] = count > 1 ? count - 1 : nil
    }

    /// Makes a session out of a kept place, in the place of an older one of the node.
    ///
    /// - Parameter now: microseconds since 1970.
    /// - Parameter output: gets `disconnected` of the old session and `connected` of the new one, in this order.
    /// - Returns: the new session's id, and the session that it replaced.
    package mutating func connect(
        _ node: String, handle: Handle, project: String, remote: String, transport: String, now: Int64, to output: inout [UInt8]
    ) -> (id: Int64, replaced: Session?) {
        release(node)
        let id = max(now, lastID + 1)
        lastID = id
        let old = sessions[node]
        if let old { append(.disconnected, of: old, reason: "replaced", now: now, to: &output) }
        let new = Session(node: node, id: id, handle: handle, project: project, remote: remote, transport: transport)
        sessions[node] = new
        append(.connected, of: new, now: now, to: &output)
        return (id, old)
    }

    /// Ends a session. Nothing happens when it is no longer the live one: an old connection's late end never touches the new one.
    ///
    /// - Returns: the session that ended.
    @discardableResult
    package mutating func disconnect(_ node: String, session: Int64, reason: String, now: Int64, to output: inout [UInt8]) -> Session? {
        guard let live = sessions[node], live.id == session else { return nil }
        sessions[node] = nil
        append(.disconnected, of: live, reason: reason, now: now, to: &output)
        return live
    }

    /// Answers `who`: `connected` with `again` for each live session, then `live`.
    ///
    /// - Parameter question: the `msg_id` of the question.
    package func answerWho(_ question: String, now: Int64, to output: inout [UInt8]) {
        for session in sessions.values {
            append(.connected, of: session, again: true, now: now, to: &output)
        }
        var end = EventLine(.live, time: now)
        end.parentID = question
        end.append(to: &output)
    }

    /// Answers a line for a session that lives no more.
    package static func appendGone(_ node: String, session: Int64, now: Int64, to output: inout [UInt8]) {
        EventLine(.disconnected, node: node, session: session, reason: "gone", time: now).append(to: &output)
    }

    private func append(
        _ event: EventKind, of session: Session, reason: String? = nil, again: Bool = false, now: Int64, to output: inout [UInt8]
    ) {
        var line = EventLine(event, node: session.node, session: session.id, reason: reason, time: now)
        line.again = again
        line.details = [("project_id", session.project), ("remote", session.remote), ("protocol", session.transport)]
        line.append(to: &output)
    }
}
