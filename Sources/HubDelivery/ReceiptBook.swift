// Receipts: one line per `ack` message, written after the commit that made its fate durable, in the order of arrival.
//
// What waits for the commit is bounded by what one commit covers. What the reader of the receipts does not take waits in memory, then in
// a file; past both bounds the cloud is no longer read, while feedback and sending go on.

internal import HubMessage
package import HubPipe
internal import HubQueue

package struct ReceiptBook {
    private struct Waiting {
        /// Where in `text` its beginning ends.
        let end: Int
        var fate: Fate
        /// Empty for none.
        var reason: String
        let node: Int64
    }

    private let writer: SpillWriter
    /// The beginnings of the receipts that wait, one after the other.
    private var text: [UInt8] = []
    private var waiting: [Waiting] = []
    /// By row: the receipt of the message that the next commit writes there.
    private var byRow: [Int64: Int] = [:]
    /// Receipts handed to the output.
    package private(set) var written = 0

    package init(_ writer: SpillWriter) { self.writer = writer }

    /// Receipts wait for a commit.
    var isWaiting: Bool { !waiting.isEmpty }

    // MARK: Before the commit

    /// `line` is an `ack` line whose envelope has been checked.
    /// - Parameter row: the row that it is to have; nil when it has none.
    /// - Parameter node: the node's number in the state file.
    mutating func took(_ line: Line, _ outcome: Outcome, row: Int64?, node: Int64) {
        if let row {
            if let older = byRow.updateValue(waiting.count, forKey: row) {
                waiting[older].fate = .superseded
                waiting[older].reason = "a newer message of its key came"
            }
        }
        let (fate, reason): (Fate, String) =
            switch outcome {
            case .taken: (.accepted, line.index.hub.reply ? "a reply, held for the session only" : "")
            case .notNewerThanPending: (.stale, "not newer than the pending version")
            case .notNewerThanAcknowledged: (.stale, "not newer than the acknowledged version")
            case .behindDelete: (.stale, "the deletion of its key is pending")
            case .replyToNobody: (.stale, "a reply, and the node is offline")
            case .tooManyReplies: (.refused, "too many replies wait for the node")
            }
        add(line, fate, reason, node)
    }

    /// `line` is an `ack` line that cannot be taken. Without a readable id nobody could make use of the receipt.
    mutating func refused(_ line: Line, _ reason: String) {
        if line.index.header.messageID.count > 0 { add(line, .refused, reason, -1) }
    }

    /// What was taken for this node is gone with the node.
    mutating func forgotNode(_ node: Int64) {
        for position in waiting.indices where waiting[position].node == node && waiting[position].fate == .accepted {
            waiting[position].fate = .superseded
            waiting[position].reason = "its node was deleted"
        }
    }

    private mutating func add(_ line: Line, _ fate: Fate, _ reason: String, _ node: Int64) {
        let index = line.index
        // The values are strings of a checked line: they stand as they came, escapes included.
        text.append("{\"msg_id\":\"")
        unsafe text.append(contentsOf: line.raw(index.header.messageID))
        text.append("\",\"node\":\"")
        unsafe text.append(contentsOf: line.raw(index.hub.node))
        text.append("\",\"key\":\"")
        unsafe text.append(contentsOf: line.raw(index.hub.key))
        text.append("\",\"version\":\"")
        unsafe text.append(contentsOf: line.raw(index.hub.version))
        waiting.append(Waiting(end: text.count, fate: fate, reason: reason, node: node))
    }

    // MARK: After it

    /// Everything that was taken so far is on disk.
    mutating func committed() {
        guard !waiting.isEmpty else { return }
        let start = writer.writer.buffer.count
        var begin = 0
        for receipt in waiting {
            writer.writer.buffer.append(contentsOf: text[begin..<receipt.end])
            begin = receipt.end
            writer.writer.buffer.append("\",\"fate\":\"")
            writer.writer.buffer.append(receipt.fate.text)
            if !receipt.reason.isEmpty {
                writer.writer.buffer.append("\",\"reason\":")
                JSONText.appendString(receipt.reason.utf8, to: &writer.writer.buffer)
                writer.writer.buffer.append("}\n")
            } else {
                writer.writer.buffer.append("\"}\n")
            }
        }
        writer.appended(from: start)
        written += waiting.count
        text.removeAll(keepingCapacity: text.capacity < 1 << 20)
        waiting.removeAll(keepingCapacity: waiting.count < 65536)
        byRow.removeAll(keepingCapacity: waiting.count < 65536)
    }

    /// Brings receipts back from the file. Before each write.
    func refill() throws(PipeError) { try writer.refill() }

    /// Gives up what the reader has not taken.
    /// - Returns: bytes given up.
    func discard() -> Int { writer.discard() }

    /// The reader has taken what was in memory, and there is more in the file.
    var wantsRefill: Bool { writer.wantsRefill }

    /// Memory and file are at their bounds: no more messages should be taken.
    var isFull: Bool { writer.isFull }

    /// Bytes that the reader has not taken, and those of them that lie in the file.
    var pending: Int { writer.pending }
    var spilled: Int { writer.spilled }
}
