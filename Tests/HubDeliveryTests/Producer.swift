// The controller's side: offers messages, forgets one when it has a receipt for it, and offers again what it has none for.

struct Producer {
    /// Everything ever offered.
    private(set) var offered: [Message] = []
    /// Offered and without a receipt, in order.
    private(set) var open: [Message] = []
    /// Of those, how many the queue has been given since it started.
    private var given = 0
    private var versions: [String: Int] = [:]
    /// The last message of each key with a receipt `accepted`.
    private(set) var accepted: [String: Message] = [:]

    mutating func offer(node: Int, key: Int, kind: Step.Kind, delta: Int, isMoved: Bool, padding: Int) {
        var message = Message()
        message.serial = offered.count
        message.node = Self.node(node)
        message.path = "d/cm/p\(key / 2 + (isMoved ? 1 : 0))"
        message.key = kind == .deletePath ? message.path : "k\(key)"
        message.padding = padding
        let place = "\(message.node)/\(message.key)"
        let number = max(0, (versions[place] ?? 10) + delta)
        versions[place] = number
        // Versions longer than any machine word, and versions with leading zeros.
        message.version = key == 5 ? "99999999999999999999\(number + 100_000)" : (message.serial % 7 == 0 ? "00\(number)" : "\(number)")
        switch kind {
        case .update: break
        case .delete, .deletePath:
            message.operation = "delete"
            message.isForced = true
            if message.serial % 2 == 0 { message.version = "" }
        case .forced: message.isForced = true
        case .reply:
            message.operation = "response"
            message.isReply = true
        }
        offered.append(message)
        open.append(message)
    }

    static func node(_ number: Int) -> String { "n\(number)" }

    /// The next message that the queue has not been given.
    mutating func next() -> Message? {
        guard given < open.count else { return nil }
        defer { given += 1 }
        return open[given]
    }

    var hasMore: Bool { given < open.count }

    /// Receipts come in the order in which the messages were given.
    mutating func take(_ receipt: ReferenceModel.Receipt) throws {
        guard let first = open.first, first == receipt.message else {
            throw Violation("a receipt for \(receipt.message.id), but the next one is due for \(open.first?.id ?? "nothing")")
        }
        open.removeFirst()
        given -= 1
        if receipt.fate == "accepted", !first.isReply { accepted["\(first.node)/\(first.place)"] = first }
    }

    /// The queue has started anew: what has no receipt is offered again.
    mutating func queueStarted() { given = 0 }

    /// Whatever was accepted for this node is gone with it.
    mutating func forget(_ node: String) { accepted = accepted.filter { $0.value.node != node } }
}
