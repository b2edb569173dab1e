"""The mutants: each breaks one rule of the design's section "hub-queue" (or of "Flow control", where it says so) with one change.

A change keeps the counters right where it can, so that it is found by what the queue does and not by what it counts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    # What must hold, and does not any more.
    rule: str
    file: str
    # Must occur exactly once in the file.
    old: str
    new: str
    # The fault run can see it: edges, controllers or the state file at the end differ.
    is_visible: bool = False


ANSWER = "Sources/HubQueue/QueueMachine+Answer.swift"
ARRIVAL = "Sources/HubQueue/QueueMachine+Arrival.swift"
SENDING = "Sources/HubQueue/QueueMachine+Sending.swift"
SESSIONS = "Sources/HubQueue/QueueMachine+Sessions.swift"
STAGE = "Sources/HubDelivery/QueueStage.swift"
LINES = "Sources/HubDelivery/QueueStage+Lines.swift"
CHANGES = "Sources/HubStore/QueueStore+Changes.swift"
COMMIT = "Sources/HubStore/QueueStore+Commit.swift"
LOOKUP = "Sources/HubStore/QueueStore+Lookup.swift"

MUTANTS = (
    # Rule 1
    Mutant(
        "older-replaces-newer", "Rule 1: a pending message is replaced by a higher version only.", ARRIVAL,
        "guard arrival.isForced || arrival.text.isNewer(than: version) else {",
        "guard arrival.isForced || arrival.text.isNewer(than: version) || !version.isEmpty else {"),
    Mutant(
        "force-is-checked", "Rule 1: with `force`, a message is taken whatever its version.", ARRIVAL,
        "guard arrival.isForced || arrival.text.isNewer(than: version) else {",
        "guard arrival.text.isNewer(than: version) else {"),
    Mutant(
        "update-replaces-delete", "Rule 1: nothing replaces a pending deletion of the key.", ARRIVAL,
        """        if isDelete {
            counters.droppedBehindDelete += 1""",
        """        if isDelete, arrival.isDelete {
            counters.droppedBehindDelete += 1"""),
    Mutant(
        "acknowledged-comes-again", "Rule 1: a message is dropped if its version is not higher than the acknowledged one.", ARRIVAL,
        "if !arrival.isForced, let acknowledged = stored.acknowledged, !arrival.text.isNewer(than: acknowledged) {",
        "if !arrival.isForced, let acknowledged = stored.acknowledged, acknowledged.isEmpty {"),
    Mutant(
        "versions-as-text", "Rule 1: versions compare as unsigned integers of any length.", "Sources/HubQueue/MessageText.swift",
        """        let own = version
        if own.count != other.count { return own.count > other.count }
        for (left, right) in zip(own, other) where left != right { return left > right }
        return false
""",
        """        return other.lexicographicallyPrecedes(version)
""", is_visible=True),
    Mutant(
        "reply-outlives-session", "Rule 1: a reply is offered only in the session in which it arrived.", SESSIONS,
        """        if entries[at].isReply {
            counters.repliesDroppedUnanswered += 1
            actions.append(.drop(slot: slot))
            return unlink(slot)
        }
""",
        """        if entries[at].isReply { counters.repliesDroppedUnanswered += 1 }
"""),
    # Rule 2
    Mutant(
        "two-versions-in-flight", "Rule 2: one version of a key is in flight at a time.", ARRIVAL,
        "if entries[at].state == .inFlight, !entries[at].flightIsOlder { entries[at].flightIsOlder = true }",
        "if entries[at].state == .inFlight { endFlight(slot) }"),
    Mutant(
        "path-out-of-order", "Rule 2: messages of one path go one after the other in arrival order.", SENDING,
        "guard entries[at].state == .waiting, entries[at].previousOnPath < 0, !entries[at].isGated else { return }",
        "guard entries[at].state == .waiting, !entries[at].isGated else { return }", is_visible=True),
    Mutant(
        "newest-first", "Rule 2: a node's messages are sent in arrival order of the keys.", "Sources/HubQueue/MinHeap.swift",
        "static func < (left: ReadyMessage, right: ReadyMessage) -> Bool { left.id < right.id }",
        "static func < (left: ReadyMessage, right: ReadyMessage) -> Bool { left.id > right.id }"),
    Mutant(
        "window-too-wide", "Flow control 2: no more than `--window` messages are on their way to a node.", SESSIONS,
        "nodes[number].window = settings.window", "nodes[number].window = settings.window + 1"),
    Mutant(
        "window-bytes-ignored", "Flow control 2: no more than `--window-bytes` are on their way to a node.", SENDING,
        "guard nodes[number].flights == 0 || nodes[number].flightBytes + Int(entries[at].size) <= settings.windowBytes else { continue }",
        "guard nodes[number].flights == 0 || nodes[number].flightBytes <= settings.windowBytes else { continue }"),
    Mutant(
        "window-not-halved", "Flow control 2: an expired acknowledgement halves the window.", SENDING,
        "nodes[number].window = max(1, nodes[number].window / 2)", "nodes[number].window = max(1, nodes[number].window)"),
    Mutant(
        "window-stays-small", "Flow control 2: each acknowledgement opens the window by one.", ANSWER,
        "nodes[Int(node)].window = min(nodes[Int(node)].window + 1, settings.window)",
        "nodes[Int(node)].window = min(nodes[Int(node)].window, settings.window)"),
    Mutant(
        "no-turns", "Flow control 2: nodes take turns.", "Sources/HubQueue/Turns.swift",
        "{ items.append(node) }", "{ items.insert(node, at: start) }"),
    # Rule 3
    Mutant(
        "foreign-acknowledgement", "Rule 3: an acknowledgement is of a message that was sent to that node.", ANSWER,
        """    private func match(_ node: Int32, _ hash: UInt64, _ messageID: UnsafeRawBufferPointer) -> Match? {
""",
        """    private func match(_: Int32, _ hash: UInt64, _ messageID: UnsafeRawBufferPointer) -> Match? {
        for node in nodes.indices {
            if let found = unsafe matchOfNode(Int32(truncatingIfNeeded: node), hash, messageID) { return found }
        }
        return nil
    }

    private func matchOfNode(_ node: Int32, _ hash: UInt64, _ messageID: UnsafeRawBufferPointer) -> Match? {
"""),
    Mutant(
        "unsent-acknowledged", "Rule 3: an acknowledgement is of a message that was sent.", ANSWER,
        "if entries[at].wasSent, entries[at].messageHash == hash, unsafe entries[at].text.hasMessageID(messageID) { return true }",
        "if entries[at].messageHash == hash, unsafe entries[at].text.hasMessageID(messageID) { return true }"),
    Mutant(
        "acknowledged-goes-back", "Rule 3: the acknowledged version never goes back.", "Sources/HubStore/Statements.swift",
        """            WHERE length(excluded.version) > length(version)
               OR (length(excluded.version) = length(version) AND excluded.version > version)
""",
        """            WHERE length(excluded.version) > 0
"""),
    Mutant(
        "late-answer-removes-newer", "Rule 3: the pending row goes unless a newer version replaced it.", ANSWER,
        "            acknowledgeOlder(slot, older)\n",
        """            acknowledgeOlder(slot, older)
            actions.append(.drop(slot: slot))
            unlink(slot)
""", is_visible=True),
    Mutant(
        "earlier-session-unknown", "Rule 3: an acknowledgement may be of a message that was sent in an earlier session.",
        CHANGES,
        """        if lines[at].isIndexed, lines[at].isOnDisk { return }
        if lines[at].wasSent { noteSent(row.node, row.id) }
""",
        """        if lines[at].isIndexed, lines[at].isOnDisk { return }
"""),
    Mutant(
        "deleted-key-remembered", "Rule 3: the acknowledgement of an operation `delete` forgets the key.", LINES,
        """        if isDelete {
            store.acknowledge(node: node, keyHash: keyHash, text: rowText(text), version: nil)
""",
        """        if isDelete {
            return
"""),
    # Rule 4
    Mutant(
        "no-retry", "Rule 4: a message whose acknowledgement has expired is sent again.", SENDING,
        """        if Int(entries[at].attempts) < settings.attempts {
            consider(slot)
""",
        """        if Int(entries[at].attempts) < settings.attempts {
            entries[at].state = .waiting
""", is_visible=True),
    Mutant(
        "one-attempt-more", "Rule 4: after `--attempts` sends, the key waits out a backoff.", SENDING,
        "if Int(entries[at].attempts) < settings.attempts {", "if Int(entries[at].attempts) <= settings.attempts {"),
    Mutant(
        "backoff-not-doubled", "Rule 4: the backoff of a key doubles.", SENDING,
        "let shift = min(Int64(entries[at].backoffs), 30)", "let shift = min(Int64(entries[at].backoffs), 0)"),
    Mutant(
        "newer-waits-out-backoff", "Rule 4: a newer version of the key ends the backoff.", ARRIVAL,
        """        case .backoff:
            nodes[Int(entries[at].node)].backingOff -= 1
            entries[at].state = .waiting
        case .ready: entries[at].state = .waiting
        case .free, .waiting, .inFlight: break
""",
        """        case .ready: entries[at].state = .waiting
        case .free, .waiting, .inFlight, .backoff: break
"""),
    Mutant(
        "refusal-drops", "Rule 4: a refused message goes to the backoff, and is kept.", ANSWER,
        """            if entries[at].state == .inFlight { endFlight(slot) }
            if entries[at].state != .backoff, nodes[Int(node)].isOnline { backOff(slot, now: now) }
""",
        """            if entries[at].state == .inFlight { endFlight(slot) }
            if entries[at].state != .backoff, nodes[Int(node)].isOnline { backOff(slot, now: now) }
            actions.append(.drop(slot: slot))
            unlink(slot)
""", is_visible=True),
    # Rule 5
    Mutant(
        "flight-outlives-session", "Rule 5: with a new session, all in flight is pending again.", SESSIONS,
        "case .inFlight: endFlight(slot)", "case .inFlight: return"),
    Mutant(
        "older-session-connects", "Rule 5: `connected` of a smaller session changes nothing.", SESSIONS,
        "guard session > nodes[number].session else { return }", "guard session != nodes[number].session else { return }"),
    Mutant(
        "older-session-disconnects", "Rule 5: `disconnected` of a smaller session changes nothing.", SESSIONS,
        """        guard session >= nodes[number].lastSession else { return }
        nodes[number].lastSession = session
        if nodes[number].isOnline { goOffline(node) }
""",
        """        nodes[number].lastSession = max(nodes[number].lastSession, session)
        if nodes[number].isOnline { goOffline(node) }
"""),
    Mutant(
        "reset-keeps-sessions", "Rule 5: `reset` ends every session.", SESSIONS,
        "if nodes[number].isOnline { goOffline(Int32(truncatingIfNeeded: number)) }\n",
        "if nodes[number].isOnline { counters.disconnected += 1 }\n"),
    Mutant(
        "reset-keeps-numbers", "Rule 5: after `reset`, any session counts as newer.", SESSIONS,
        "            nodes[number].lastSession = -1\n", ""),
    # Rules 6 and 7
    # Edges do not see this one: hub-wsserve drops a line whose id still waits unsent.
    Mutant(
        "once-twice", "Rule 6: a `once` line is forwarded once.", ARRIVAL,
        "        actions.append(.forward(session: nodes[Int(node)].session))\n",
        """        actions.append(.forward(session: nodes[Int(node)].session))
        actions.append(.forward(session: nodes[Int(node)].session))
"""),
    Mutant(
        "once-to-offline", "Rule 6: a `once` line for a node that is offline is dropped.", ARRIVAL,
        """        guard let node, nodes[Int(node)].isOnline else {
            counters.onceDroppedOffline += 1
            return
        }
        counters.onceForwarded += 1
        actions.append(.forward(session: nodes[Int(node)].session))
""",
        """        guard let node else {
            counters.onceDroppedOffline += 1
            return
        }
        if nodes[Int(node)].isOnline { counters.onceForwarded += 1 } else { counters.onceDroppedOffline += 1 }
        actions.append(.forward(session: nodes[Int(node)].lastSession))
"""),
    Mutant(
        "deleted-node-stays", "Rule 7: everything of a deleted node is forgotten.", CHANGES,
        "        forgottenNodes.append(id)\n", ""),
    Mutant(
        "deleted-node-leaves-rows", "Rule 7: a node of the same name finds nothing of the deleted one.", COMMIT,
        "var deleted = try purge(statements[.purgePending], node, limit)", "var deleted: Int64 = 0"),
    # Rule 8
    Mutant(
        "sent-over-pending-row", "Rule 8: a message leaves before its commit only if no older version of its key is pending on disk.", ARRIVAL,
        "        if entries[at].batch < batch { gate(slot) }\n", ""),
    Mutant(
        "sent-over-acknowledged-row", "Rule 8: the same for an older version whose removal is not committed yet.", SENDING,
        "if hasForgotten || !unsettled.isEmpty, !entries[at].wasSentInSession, isUnsettled(at) { return gate(slot) }",
        "if hasForgotten, !entries[at].wasSentInSession, isUnsettled(at) { return gate(slot) }"),
    Mutant(
        "receipt-before-commit", "Rule 8: a receipt is written after the commit that makes it true.", LINES,
        "        receipts?.took(line, outcome, row: rowID, node: node)\n",
        """        receipts?.took(line, outcome, row: rowID, node: node)
        receipts?.committed()
"""),
    Mutant(
        "stale-without-receipt", "Flow control: what is dropped as stale is told, in its receipt.", LINES,
        "        receipts?.took(line, outcome, row: rowID, node: node)\n",
        "        if outcome != .notNewerThanPending { receipts?.took(line, outcome, row: rowID, node: node) }\n"),
    Mutant(
        "recent-rows-lost", "Rule 8: once committed, a message survives `kill -9`.", LOOKUP,
        "SELECT id, line FROM recent ORDER BY id LIMIT 1000", "SELECT id, line FROM recent WHERE id < 0 ORDER BY id LIMIT 1000",
        is_visible=True),
    Mutant(
        "failed-commit-forgets", "Rule 8: when the disk is full, what was taken is kept.", COMMIT,
        """            connection.rollBack()
            throw error
        }
        checkpointIfLong()
""",
        """            connection.rollBack()
            batchIsOnDisk()
            throw error
        }
        checkpointIfLong()
""", is_visible=True),
    # Rule 9
    Mutant(
        "unseen-stays-online", "Rule 9: on `live`, a node that the transport did not name is offline.", SESSIONS,
        """            counters.reconciled += 1
            goOffline(Int32(truncatingIfNeeded: number))
""",
        """            counters.reconciled += 1
            counters.disconnected += 1
"""),
    Mutant(
        "again-restarts-session", "Rule 9: an `again` for the session already known changes nothing.", SESSIONS,
        "guard session > nodes[number].session else { return }", "guard session >= nodes[number].session else { return }"),
    # Rules 1 to 4, where rows lie on disk or are on their way there
    Mutant(
        "row-of-key-overlooked", "Per node and key one message is pending.", ARRIVAL,
        "needsPending: !isReply && slot == nil && hasDiskRows,", "needsPending: !isReply && slot == nil && hasDiskRows && isForced,"),
    Mutant(
        "moving-row-overlooked", "Per node and key one message is pending.", LOOKUP,
        "        if let move {\n", "        if let move, move < 0 {\n"),
    Mutant(
        "row-comes-back", "Rule 3: an acknowledged row goes, also when the commit that writes it is still to come.", CHANGES,
        "        if lines[at].isIndexed {\n", "        if lines[at].isIndexed, lines[at].isOnDisk {\n"),
    Mutant(
        "acknowledgement-before-row", "Rule 3: an acknowledged row goes, also when the commit that writes it is still to come.", COMMIT,
        """            try writeRows()
            try writeAcknowledgements()
""",
        """            try writeAcknowledgements()
            try writeRows()
"""),
    Mutant(
        "batch-goes-back", "Rule 3: the acknowledged version never goes back, also between two commits.", CHANGES,
        "if Version.isHigher(version[...], than: old[...]) {", "if version != old {"),
    Mutant(
        "forgotten-only-in-memory", "Rule 3: the acknowledgement of an operation `delete` forgets the key, whatever else the commit brings.", CHANGES,
        "                item.resets = true\n", ""),
    Mutant(
        "rows-left-on-disk", "Rule 8: what is pending for an online node is sent, also what lies on disk.",
        "Sources/HubQueue/QueueMachine+Rows.swift",
        "if isComplete { nodes[number].hasDiskRows = false }", "nodes[number].hasDiskRows = false"),
    Mutant(
        "reply-overtaken", "Rules 1 and 2: no older reply follows a newer message of its path.", ARRIVAL,
        "guard nodes[Int(arrival.node)].replies > 0 else { return }", "guard nodes[Int(arrival.node)].replies < 0 else { return }"),
    Mutant(
        "reply-passes-rows", "Rule 2: messages of one path go in arrival order, also when some of them lie on disk.", ARRIVAL,
        "entry.isHeld = nodes[node].hasDiskRows && lastOnPath > nodes[node].loadedThrough", "entry.isHeld = false"),
    Mutant(
        "newer-keeps-attempts", "Rule 4: a newer version starts the attempts anew.", ARRIVAL,
        "        entries[at].attempts = 0\n", ""),
    Mutant(
        "backoff-outlives-session", "Rule 4: a new session ends the backoff.", SESSIONS,
        "case .backoff: nodes[Int(entries[at].node)].backingOff -= 1", "case .backoff: return"),
    Mutant(
        "backoff-without-bound", "Rule 4: a backoff is no longer than five minutes.", SENDING,
        "min(doubled, settings.longestBackoff)", "doubled"),
    Mutant(
        "error-not-kept", "Rule 4: what a node said when it refused a message is kept as the key's last error.", CHANGES,
        "        errors.append((row.id, text))\n", ""),
    Mutant(
        "backoff-not-listed", "Rule 4: `hub-queue list` shows how long a key backs off.", CHANGES,
        "        backoffs.append((row.id, attempts, until))\n", ""),
    # Rules 5, 7, 8 and 9 once more
    Mutant(
        "session-not-listed", "Rule 5: `hub-queue nodes` shows which nodes are online.", CHANGES,
        "{ sessions.append((node, session, time)) }", "{ if session == nil { sessions.append((node, session, time)) } }"),
    Mutant(
        "deleted-node-leaves-versions", "Rule 7: a node of the same name finds nothing of the deleted one.", COMMIT,
        "statements[.purgeAcknowledged]", "statements[.purgePending]"),
    Mutant(
        "sent-over-deleted-node", "Rule 8: nothing leaves for a node before the deletion of its predecessor is committed.", SESSIONS,
        "        hasForgotten = true\n", ""),
    Mutant(
        "lost-number-used-again", "Rule 3: an acknowledgement of what a kill took away is not taken for that of another message.", LOOKUP,
        "coalesce((SELECT max(sent_through) FROM nodes), 0))", "0)"),
    Mutant(
        "commit-only-when-idle", "Rule 8: a commit waits no longer than its delay.", STAGE,
        "now - since >= settings.commitDelay", "now - since >= 3_600_000_000_000"),
    Mutant(
        "offline-occupies-memory", "Rule 8: a message whose node is offline occupies disk, not memory.", SESSIONS,
        "            parking.append(node)\n", ""),
    Mutant(
        "asked-once", "Rule 9: the transport is asked every `--reconcile` seconds.", SENDING,
        "nextQuestion = settings.reconcile.map { now + $0 }", "nextQuestion = nil"),
    Mutant(
        "any-live-counts", "Rule 9: `live` counts as the answer to the question that it names.", SESSIONS,
        "guard let position = questions.firstIndex(where: { unsafe $0.id.elementsEqual(id) }) else { return }",
        "guard let position = questions.firstIndex(where: { unsafe $0.id.elementsEqual(id) }) ?? questions.indices.last else { return }"),
    # Flow control
    Mutant(
        "full-output-filled", "Flow control 1: nothing is sent while the output is full.", LINES,
        "while output.pending < settings.fullAt, let sending", "while let sending"),
    Mutant(
        "full-output-reads", "Flow control 1: the cloud is not read while the output is full.", STAGE,
        "output.pending < settings.fullAt && !(receipts?.isFull ?? false)", "!(receipts?.isFull ?? false)"),
    Mutant(
        "full-output-deafens", "Flow control 1: the feedback is read always, also while the output is full.", STAGE,
        "return retryAt == nil || machine.memory", "return retryAt == nil && output.pending < settings.fullAt || machine.memory"),
)
