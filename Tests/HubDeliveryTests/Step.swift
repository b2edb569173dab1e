// One step of a schedule. A step means something whatever came before it, so that a failing schedule can be shortened.

enum Step: Equatable, CustomStringConvertible {
    enum Kind: Int, CaseIterable {
        case update
        case delete
        case deletePath
        case forced
        case reply
    }

    /// The producer offers a message of `node` and `key`; its version is the last one's plus `delta`.
    case offer(node: Int, key: Int, kind: Kind, delta: Int, isMoved: Bool, padding: Int)
    case once(node: Int, fromFeedback: Bool)
    case deleteNode(node: Int)
    /// A node connects, or loses its connection. When it is swallowed, the queue is not told.
    case connect(node: Int, isSwallowed: Bool)
    case disconnect(node: Int, isSwallowed: Bool)
    /// An event of a session that is `delta` away from the last one.
    case strayConnect(node: Int, delta: Int)
    case strayDisconnect(node: Int, delta: Int)
    case reset
    /// The transport answers the last question, or an older one, or one that nobody asked, naming all sessions but that of one node.
    case answerWho(leavesOut: Int, age: Int)
    /// A node answers one of the messages that it has received and not yet answered; `again` leaves it to be answered once more.
    case answer(pick: Int, refuses: Bool, again: Bool)
    case answerAll
    /// A node answers a message that it need not have received, or one that never was.
    case strange(node: Int, pick: Int, refuses: Bool)
    /// A turn of the loop; `rest` takes turns until there is nothing to do.
    case tick
    case rest
    case wait(milliseconds: Int)
    /// Time passes, and the process does not run.
    case hold(milliseconds: Int)
    /// The reader of the output stands still.
    case stall(Bool)
    /// Another program locks the state file.
    case lock(Bool)
    /// The process is killed, before what it wrote last has left, or before the producer has read the last receipts.
    case crash(losesOutput: Bool, losesReceipts: Bool)
    /// SIGTERM, and a new start.
    case stop

    var description: String {
        switch self {
        case .offer(let node, let key, let kind, let delta, let isMoved, let padding):
            "offer n\(node) k\(key) \(kind) \(delta >= 0 ? "+" : "")\(delta)\(isMoved ? " moved" : "") \(padding)"
        case .once(let node, let fromFeedback): "once n\(node)\(fromFeedback ? " from feedback" : "")"
        case .deleteNode(let node): "delete n\(node)"
        case .connect(let node, let isSwallowed): "connect n\(node)\(isSwallowed ? ", swallowed" : "")"
        case .disconnect(let node, let isSwallowed): "disconnect n\(node)\(isSwallowed ? ", swallowed" : "")"
        case .strayConnect(let node, let delta): "connected n\(node), session \(delta)"
        case .strayDisconnect(let node, let delta): "disconnected n\(node), session \(delta)"
        case .reset: "reset"
        case .answerWho(let node, let age): "answer who\(age > 0 ? " of \(age) before" : "") without n\(node)"
        case .answer(let pick, let refuses, let again): "\(refuses ? "refuse" : "acknowledge") \(pick)\(again ? ", and again later" : "")"
        case .answerAll: "acknowledge all"
        case .strange(let node, let pick, let refuses): "n\(node) \(refuses ? "refuses" : "acknowledges") \(pick) unasked"
        case .tick: "tick"
        case .rest: "rest"
        case .hold(let milliseconds): "stand still for \(milliseconds) ms"
        case .wait(let milliseconds): "wait \(milliseconds) ms"
        case .stall(let isOn): isOn ? "output stalls" : "output flows"
        case .lock(let isOn): isOn ? "state file locked" : "state file free"
        case .crash(let output, let receipts): "crash\(output ? ", output lost" : "")\(receipts ? ", receipts lost" : "")"
        case .stop: "stop and start"
        }
    }
}
