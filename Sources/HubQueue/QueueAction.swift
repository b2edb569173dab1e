// What the state machine asks of its surroundings. "The line" is the one that was handed in with the call.

package enum QueueAction: Equatable, Sendable {
    /// The node is new: it needs a row before any message of it.
    case createNode(Int32)
    /// The session of the node has begun or ended.
    case noteSession(Int32)
    /// Everything under this number in the state file is to be forgotten.
    case forgetNode(storeID: Int64)
    /// The transport must close the session, or any when it is unknown.
    case close(session: Int64?)
    /// The line becomes the message of `slot` and a row.
    case keep(slot: Int32, id: Int64)
    /// The line becomes the message of `slot`, in memory only.
    case hold(slot: Int32)
    /// The line takes the place of the message of `slot` and of its row.
    case replace(slot: Int32)
    /// The line becomes a row that nothing in memory stands for.
    case park(id: Int64)
    /// The line takes the place of such a row.
    case replaceParked(id: Int64)
    /// The line goes out now, with this session.
    case forward(session: Int64)
    /// Acknowledged: the version is remembered (or the key forgotten, when it deletes), and the row goes.
    case acknowledge(slot: Int32)
    /// The acknowledged version of the slot's key is at least this.
    case raise(slot: Int32, version: [UInt8])
    /// The message of `slot` goes without an acknowledgement.
    case drop(slot: Int32)
    /// The key backs off: what `list` shows of it changes.
    case backOff(slot: Int32)
    /// The line's content is the last error of the slot's key.
    case noteError(slot: Int32)
    /// The slot's message leaves memory; its row stays.
    case evict(slot: Int32)
    /// Time to ask the transport which sessions live.
    case ask
}

/// One `ack` line as the state machine sees it, made by `QueueMachine.arrival`.
package struct Arrival: Sendable {
    package let node: Int32
    package let text: MessageText
    package let keyHash: UInt64
    package let pathHash: UInt64
    package let messageHash: UInt64
    package let size: Int
    package let isReply: Bool
    package let isDelete: Bool
    /// Taken whatever its version.
    package let isForced: Bool
    /// The pending message of the key, when it is in memory.
    let slot: Int32?

    /// The state file must be asked for a pending row of the key.
    package let needsPending: Bool
    /// The state file must be asked for the acknowledged version of the key, unless a row is pending.
    package let needsAcknowledged: Bool
    /// The state file must be asked for the last row of the path after this one.
    package let needsPathAfter: Int64?
}

/// What the state file holds about the key of an arrival; only what the arrival says it needs.
package struct StoredKey: Sendable {
    package struct Pending: Sendable, Equatable {
        package let id: Int64
        package let isDelete: Bool
        package let version: [UInt8]

        package init(id: Int64, isDelete: Bool, version: [UInt8]) {
            self.id = id
            self.isDelete = isDelete
            self.version = version
        }
    }

    package var pending: Pending?
    package var acknowledged: [UInt8]?
    package var lastOnPath: Int64 = 0

    package init() {}
}

/// One message to be written now.
package struct Sending: Sendable, Equatable {
    package let slot: Int32
    package let id: Int64
    package let node: Int32
    package let session: Int64
}

/// Rows of one node that are wanted in memory.
package struct LoadRequest: Sendable, Equatable {
    package let node: Int32
    package let storeID: Int64
    package let after: Int64
    package let limit: Int
}
