// The nodes' side: what they have received, and what they have yet to answer.

struct Edges {
    struct Received: Equatable {
        let node: String
        let session: Int64
        let id: String
    }

    /// Sessions as the transport knows them.
    var sessions: [String: Int64] = [:]
    var lastSession: Int64 = 100
    /// Messages received and not answered, in order.
    private(set) var unanswered: [Received] = []
    /// Of each node and key, and of each node and path, the last message that arrived, and the last one that was acknowledged.
    private(set) var last: [String: String] = [:]
    private(set) var lastAnswered: [String: String] = [:]
    private(set) var answered: Set<String> = []
    /// Keys and paths about which a node told a lie.
    private(set) var doubtful: Set<String> = []
    private var received: Set<String> = []

    mutating func receive(_ item: Received, _ message: Message) {
        unanswered.append(item)
        received.insert(item.id)
        guard !message.isReply else { return }
        last["\(message.node)/\(message.place)"] = item.id
        last["\(message.node)@\(message.path)"] = item.id
    }

    mutating func take(_ pick: Int, again: Bool) -> Received? {
        guard !unanswered.isEmpty else { return nil }
        let position = pick % unanswered.count
        return again ? unanswered[position] : unanswered.remove(at: position)
    }

    /// The queue has taken the acknowledgement of this message.
    mutating func acknowledged(_ message: Message) {
        answered.insert(message.id)
        if !received.contains(message.id) {
            doubtful.insert("\(message.node)/\(message.place)")
            doubtful.insert("\(message.node)@\(message.path)")
        }
        guard !message.isReply else { return }
        lastAnswered["\(message.node)/\(message.place)"] = message.id
    }
}
