// The queue's state machine (design: "hub-queue", rules 1 to 7 and 9, and "Flow control" rule 2): values in, actions out, the time
// inside the call, no input or output. It holds what is in memory: sessions, windows, what is in flight, attempts, backoffs, the
// order on each path, and whose turn it is. Message bodies and rows are its surroundings' business; it names them by slot and id.
//
// The entries in memory of a node are exactly its rows up to `loadedThrough`; later rows lie on disk only.

internal import HubMessage

package struct QueueMachine: Sendable {
    package let settings: QueueSettings
    package internal(set) var counters = QueueCounters()
    /// What the last calls ask for, in order; taken with `takeActions`.
    package internal(set) var actions: [QueueAction] = []
    /// There is memory for more messages; when there is not, new ones stay on disk. Set by the surroundings.
    package var mayHold = true

    var entries: [Entry] = []
    private var freeSlots: [Int32] = []
    /// Slots whose entry has ended, readable until the actions are taken.
    private var retired: [Int32] = []

    var nodes: [Node] = []
    private var freeNodes: [Int32] = []
    private var retiredNodes: [Int32] = []
    var nodesByName = SlotTable()
    package internal(set) var onlineCount = 0
    /// When the message that the last acknowledgement answers was sent; nil when it was not in flight.
    package internal(set) var answeredFlight: Int64?
    /// Some node has been online.
    package internal(set) var hasBeenOnline = false

    /// Pending messages by key, all messages by id, and the last message of each path.
    var byKey = SlotTable()
    var byMessage = SlotTable()
    var byPath = SlotTable()

    var turns = Turns()
    var loads = Turns()
    var parking = Turns()
    var firstInFlight: Int32 = -1
    var lastInFlight: Int32 = -1
    var backoffEnds = MinHeap<BackoffEnd>()

    /// The number of the commit that will write what arrives now.
    var batch = 1
    var gated: [ReadyMessage] = []
    /// Keys and paths of rows that are acknowledged, but whose removal is not yet committed.
    var unsettled: Set<UInt64> = []
    /// A node was forgotten, and that is not yet committed: after a crash its old messages would follow those of its successor.
    var hasForgotten = false
    /// Hashes of ids acknowledged lately, to tell a repeated acknowledgement from an unknown one.
    var answered = [UInt64](repeating: 0, count: 8192)

    var nextRow: Int64 = 1
    private var nextNodeID: Int64 = 1
    /// Events of connections, counted.
    var eventCount = 0
    var questions: [(id: [UInt8], asked: Int)] = []
    var nextQuestion: Int64?

    package init(settings: QueueSettings, now: Int64 = 0) {
        self.settings = settings
        nextQuestion = settings.reconcile == nil ? nil : now
    }

    /// Takes over what the state file knows. The rows of each node are taken to lie on disk.
    /// - Parameter nextRow: larger than any row's id.
    /// - Parameter nextNodeID: larger than any node's number, forgotten ones included.
    package mutating func restore(nodes known: [(storeID: Int64, name: [UInt8])], nextRow: Int64, nextNodeID: Int64) {
        self.nextRow = nextRow
        self.nextNodeID = nextNodeID
        for item in known {
            let node = addNode(item.name, ByteHash.of(item.name), storeID: item.storeID)
            nodes[Int(node)].hasDiskRows = true
        }
    }

    /// The actions of the calls so far, which the surroundings then carry out, and end with `settle`.
    package mutating func settle() {
        actions.removeAll(keepingCapacity: true)
        for slot in retired {
            entries[Int(slot)] = Entry()
            freeSlots.append(slot)
        }
        retired.removeAll(keepingCapacity: true)
        freeNodes.append(contentsOf: retiredNodes)
        retiredNodes.removeAll()
    }

    /// Messages that were sent and not acknowledged, of all nodes.
    package var flightCount: Int { nodes.reduce(0) { $0 + $1.flights } }
    /// The nodes that have something in flight: name, how many messages, and how many may be.
    package var flights: [(name: [UInt8], count: Int, window: Int)] {
        nodes.filter { $0.flights > 0 }.map { ($0.name, $0.flights, $0.window) }
    }

    /// Messages in memory that wait out a backoff.
    package var backoffCount: Int { nodes.reduce(0) { $0 + $1.backingOff } }

    /// Bytes that the bookkeeping takes, roughly.
    package var memory: Int { (entries.count - freeSlots.count) * QueueSettings.entryCost }

    // MARK: Nodes

    package func knownNode(_ name: UnsafeRawBufferPointer) -> Int32? {
        unsafe nodesByName.find(ByteHash.of(name)) { node in unsafe isNamed(node, name) }
    }

    private func isNamed(_ node: Int32, _ name: UnsafeRawBufferPointer) -> Bool {
        unsafe nodes[Int(node)].name.withUnsafeBytes { unsafe JSONText.equal($0, name) }
    }

    /// The node of this name, which is new if it is not known.
    package mutating func node(_ name: UnsafeRawBufferPointer) -> Int32 {
        if let node = unsafe knownNode(name) { return node }
        let node = unsafe addNode([UInt8](name), ByteHash.of(name), storeID: nextNodeID)
        nextNodeID += 1
        actions.append(.createNode(node))
        return node
    }

    private mutating func addNode(_ name: [UInt8], _ hash: UInt64, storeID: Int64) -> Int32 {
        var node = Node()
        node.name = name
        node.nameHash = hash
        node.storeID = storeID
        node.exists = true
        let number: Int32
        if let free = freeNodes.popLast() {
            number = free
            nodes[Int(free)] = node
        } else {
            number = Int32(truncatingIfNeeded: nodes.count)
            nodes.append(node)
        }
        nodesByName.insert(hash, number)
        return number
    }

    mutating func removeNode(_ node: Int32) {
        nodesByName.remove(nodes[Int(node)].nameHash, node)
        nodes[Int(node)] = Node()
        retiredNodes.append(node)
    }

    package func storeID(of node: Int32) -> Int64 { nodes[Int(node)].storeID }
    package func name(of node: Int32) -> [UInt8] { nodes[Int(node)].name }
    package func session(of node: Int32) -> Int64? { nodes[Int(node)].isOnline ? nodes[Int(node)].session : nil }

    // MARK: Entries

    mutating func newEntry(_ entry: Entry) -> Int32 {
        if let slot = freeSlots.popLast() {
            entries[Int(slot)] = entry
            return slot
        }
        entries.append(entry)
        return Int32(truncatingIfNeeded: entries.count - 1)
    }

    /// Ends the entry; its text stays readable until `settle`.
    mutating func retire(_ slot: Int32) {
        entries[Int(slot)].state = .free
        retired.append(slot)
    }

    /// The number of the row of `slot`.
    package func rowID(of slot: Int32) -> Int64 { entries[Int(slot)].id }
    package func nodeOf(_ slot: Int32) -> Int32 { entries[Int(slot)].node }

    /// What the surroundings need to write the row of `slot`.
    package func row(of slot: Int32) -> RowView {
        let entry = entries[Int(slot)]
        return RowView(
            id: entry.id, storeNode: nodes[Int(entry.node)].storeID, text: entry.text, keyHash: entry.keyHash, pathHash: entry.pathHash,
            messageHash: entry.messageHash, isDelete: entry.isDelete, isReply: entry.isReply,
            attempts: Int(entry.attempts), backoffEnd: entry.state == .backoff ? entry.due : nil)
    }
}

/// The columns of a row.
package struct RowView: Sendable {
    package let id: Int64
    package let storeNode: Int64
    package let text: MessageText
    package let keyHash: UInt64
    package let pathHash: UInt64
    package let messageHash: UInt64
    package let isDelete: Bool
    package let isReply: Bool
    package let attempts: Int
    /// Monotonic nanoseconds.
    package let backoffEnd: Int64?
}
