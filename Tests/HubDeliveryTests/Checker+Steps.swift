// What each step does to the queue, to the model, and to the world around them.

extension Checker {
    func perform(_ step: Step) throws {
        switch step {
        case .offer(let node, let key, let kind, let delta, let isMoved, let padding):
            producer.offer(node: node, key: key, kind: kind, delta: delta, isMoved: isMoved, padding: padding)
            try pump()
        case .once(let node, let fromFeedback): try once(Producer.node(node), fromFeedback)
        case .deleteNode(let node): try deleteNode(Producer.node(node))
        case .connect(let node, let isSwallowed):
            edges.lastSession += 1
            edges.sessions[Producer.node(node)] = edges.lastSession
            if !isSwallowed { try connected(Producer.node(node), edges.lastSession) }
        case .disconnect(let node, let isSwallowed):
            guard let session = edges.sessions.removeValue(forKey: Producer.node(node)), !isSwallowed else { return }
            try disconnected(Producer.node(node), session)
        case .strayConnect(let node, let delta): try connected(Producer.node(node), edges.lastSession + Int64(delta))
        case .strayDisconnect(let node, let delta): try disconnected(Producer.node(node), edges.lastSession + Int64(delta))
        case .reset: try reset()
        case .answerWho(let node, let age): try answerWho(leavesOut: Producer.node(node), age)
        case .answer(let pick, let refuses, let again):
            guard try wants(feedback: true), let item = edges.take(pick, again: again) else { return }
            try answer(item.node, item.id, item.session, refuses: refuses)
        case .answerAll:
            while try wants(feedback: true), let item = edges.take(0, again: false) {
                try answer(item.node, item.id, item.session, refuses: false)
            }
        case .strange(let node, let pick, let refuses):
            let id = pick % 5 == 0 || producer.offered.isEmpty ? "x\(pick)" : producer.offered[pick % producer.offered.count].id
            if try wants(feedback: true) { try answer(Producer.node(node), id, edges.lastSession, refuses: refuses) }
        case .tick: try tick()
        case .rest: try rest()
        case .hold(let milliseconds): now += Int64(milliseconds) * 1_000_000
        case .wait(let milliseconds): try wait(Int64(milliseconds) * 1_000_000)
        case .stall(let isOn): setStalled(isOn)
        case .lock(let isOn): setLocked(isOn)
        case .crash(let losesOutput, let losesReceipts): try crash(losesOutput: losesOutput, losesReceipts: losesReceipts)
        case .stop: try stop()
        }
        if producer.hasMore { try pump() }
        noteWork()
    }

    // MARK: Events

    private func event(_ name: String, _ node: String? = nil, _ session: Int64? = nil, parent: String? = nil) throws {
        let members = (node.map { ",\"node\":\"\($0)\"" } ?? "") + (session.map { ",\"session\":\($0)" } ?? "")
        let header = parent.map { ",\"parent_msg_id\":\"\($0)\"" } ?? ""
        try give(
            "{\"hub\":{\"kind\":\"event\"\(members),\"event\":\"\(name)\"},\"header\":{\"msg_id\":\"e\"\(header)},\"route\":{}}",
            feedback: true)
        try takeCommit()
    }

    private func connected(_ node: String, _ session: Int64) throws {
        guard try wants(feedback: true) else { return }
        try event("connected", node, session)
        model.connected(node, session)
        try compareCounters()
    }

    private func disconnected(_ node: String, _ session: Int64) throws {
        guard try wants(feedback: true) else { return }
        try event("disconnected", node, session)
        model.disconnected(node, session)
        try compareCounters()
    }

    private func reset() throws {
        guard try wants(feedback: true) else { return }
        edges.sessions = [:]
        try event("reset")
        model.reset()
        try compareCounters()
    }

    private func answerWho(leavesOut: String, _ age: Int) throws {
        guard try wants(feedback: true) else { return }
        let question = age < model.questions.count ? model.questions[model.questions.count - 1 - age].id : "x"
        for (node, session) in edges.sessions.sorted(by: { $0.key < $1.key }) where node != leavesOut { try connected(node, session) }
        try event("live", parent: question)
        model.live(question)
        try compareCounters()
    }

    // MARK: Answers

    private func answer(_ node: String, _ id: String, _ session: Int64, refuses: Bool) throws {
        let before = counters
        let isBlind = isFailing || isLocked
        let content = refuses ? "not \(id) \(now)" : "OK"
        try give(
            """
            {"hub":{"kind":"up","node":"\(node)","session":\(session)},"header":{"msg_id":"a","parent_msg_id":"\(id)"},\
            "route":{"group":"resource","operation":"\(refuses ? "error" : "response")","resource":"r"},"content":"\(content)"}
            """, feedback: true)
        try takeCommit()
        let after = counters
        let taken = refuses ? after.refusedByNode - before.refusedByNode : after.acknowledged - before.acknowledged
        let observed = ReferenceModel.Observed(isTaken: taken > 0, backsOff: after.backoffs > before.backoffs)
        note("\(id) of \(node) \(refuses ? "refused" : "acknowledged"): \(observed)")
        if refuses {
            try model.refuse(node, id, observed, content, isBlind: isBlind, now: now)
        } else {
            try model.acknowledge(node, id, observed, isBlind: isBlind)
            if observed.isTaken, let number = Int(id.dropFirst()) { edges.acknowledged(producer.offered[number]) }
        }
        try compareCounters()
    }

    // MARK: once

    private func onceLine(_ node: String, _ operation: String, _ path: String) -> String {
        """
        {"hub":{"kind":"once","node":"\(node)"},"header":{"msg_id":"once"},\
        "route":{"source":"edgecontroller","operation":"\(operation)","resource":"\(path)"}}
        """
    }

    private func once(_ node: String, _ fromFeedback: Bool) throws {
        guard try wants(feedback: fromFeedback), fromFeedback || !producer.hasMore else { return }
        let before = counters
        try give(onceLine(node, "update", "a/lease/b"), feedback: fromFeedback)
        let written = takeOutput()
        let isDropped = counters.onceDroppedFull > before.onceDroppedFull
        switch model.once(node) {
        case nil:
            model.counts.onceDropped += 1
            if !written.isEmpty { throw Violation("a once line for \(node), which is offline, was forwarded") }
        case let session?:
            if isDropped {
                model.counts.onceDropped += 1
                return
            }
            model.counts.forwarded += 1
            guard written.count == 1, written[0].kind == "once", written[0].node == node, written[0].session == session else {
                throw Violation("a once line for \(node) became \(written)")
            }
        }
        try compareCounters()
    }

    private func deleteNode(_ node: String) throws {
        guard try wants(feedback: false), !producer.hasMore else { return }
        try give(onceLine(node, "delete", "default/node/\(node)"), feedback: false)
        let session = model.forget(node)
        producer.forget(node)
        let written = takeOutput()
        guard written.count == 1, written[0].kind == "close", written[0].node == node, written[0].session == session else {
            throw Violation("the deletion of \(node) became \(written), its session is \(session ?? -1)")
        }
        try compareCounters()
    }

    // MARK: The end

    /// The faults stop: each node must come to hold the newest message of each key that was accepted for it.
    func finish() throws {
        setLocked(false)
        setStalled(false)
        try flush()
        try wait(1_000_000_000)
        try flush()
        try pump()
        for node in 0..<schedule.setup.nodes {
            // Beyond any session that an event was made up for.
            edges.lastSession += 10
            edges.sessions[Producer.node(node)] = edges.lastSession
            try connected(Producer.node(node), edges.lastSession)
        }
        var rounds = 0
        while producer.hasMore || model.nodes.values.contains(where: { !$0.pending.isEmpty }) {
            try rest()
            try flush()
            try perform(.answerAll)
            try pump()
            rounds += 1
            if rounds > 300 {
                throw Violation(
                    "after the faults, not everything is delivered: \(model.nodes.mapValues { $0.pending.mapValues(\.message.id) })")
            }
        }
        try rest()
        try flush()
        try checkFile()
        guard producer.open.isEmpty else { throw Violation("no receipt came for \(producer.open.map(\.id))") }
        for (name, node) in model.nodes.sorted(by: { $0.key < $1.key }) {
            for (key, id) in node.truth.sorted(by: { $0.key < $1.key }) where !edges.doubtful.contains("\(name)/\(key)") {
                guard edges.last["\(name)/\(key)"] == id, edges.lastAnswered["\(name)/\(key)"] == id else {
                    throw Violation(
                        "\(name) was last given \(edges.last["\(name)/\(key)"] ?? "nothing") of \(key), and \(id) is the newest")
                }
            }
            for (path, id) in node.lastOnPath.sorted(by: { $0.key < $1.key })
            where !edges.doubtful.contains("\(name)@\(path)") && !model.movedPaths.contains("\(name)@\(path)") {
                guard edges.last["\(name)@\(path)"] == id else {
                    throw Violation(
                        "\(name) was last given \(edges.last["\(name)@\(path)"] ?? "nothing") at \(path), and \(id) is the last one")
                }
            }
        }
    }

    // MARK: Counters

    func compareCounters() throws {
        let real = counters
        let model = model.counts
        let pairs: [(String, Int, Int)] = [
            ("accepted", real.accepted, model.accepted), ("superseded", real.superseded, model.superseded),
            ("stale", real.stale, model.stale),
            ("dropped behind a delete", real.droppedBehindDelete, model.behindDelete), ("sent", real.sent, model.sent),
            ("retries", real.retries, model.retries), ("acknowledged", real.acknowledged, model.acknowledged),
            ("unknown acknowledgements", real.unknownAcks + real.duplicateAcks, model.unknown), ("expired", real.expired, model.expired),
            ("backoffs", real.backoffs, model.backoffs), ("refused", real.refusedByNode, model.refused),
            ("unknown refusals", real.unknownRefusals, model.unknownRefusals), ("forwarded", real.onceForwarded, model.forwarded),
            ("once dropped", real.onceDroppedOffline + real.onceDroppedFull, model.onceDropped),
            ("replies to nobody", real.repliesDroppedOffline, model.repliesOffline),
            ("replies unanswered", real.repliesDroppedUnanswered, model.repliesUnanswered),
            ("replies without room", real.repliesDroppedFull, model.repliesFull),
            ("replies refused", real.repliesRefused, model.repliesRefused),
            ("replies overtaken", real.repliesOvertaken, model.repliesOvertaken),
            ("connected", real.connected, model.connected), ("disconnected", real.disconnected, model.disconnected),
            ("resets", real.resets, model.resets), ("reconciled", real.reconciled, model.reconciled),
            ("forgotten nodes", real.forgottenNodes, model.forgotten),
        ]
        for (name, real, model) in pairs where real != model { throw Violation("\(name): \(real), not \(model)") }
    }
}
