// The vocabulary of the envelope (design: "The line").

/// `hub.kind`.
package enum EnvelopeKind: String, Sendable, CaseIterable {
    /// Must be acknowledged by the node.
    case ack
    /// Sent at most once.
    case once
    /// Came from a node.
    case up
    /// About a connection.
    case event
}

/// `hub.event`.
package enum EventKind: String, Sendable, CaseIterable {
    case connected
    case disconnected
    /// The transport has started: no earlier session lives.
    case reset
    /// Asks the transport to close a session.
    case close
    /// Asks the transport which sessions live.
    case who
    /// Ends the answer to `who`.
    case live
}

extension Line {
    /// The kind of an inner line, nil for a plain line or an unknown kind.
    package var kind: EnvelopeKind? {
        guard isInner else { return nil }
        let field = index.hub.kind
        if equals(field, "ack") { return .ack }
        if equals(field, "up") { return .up }
        if equals(field, "once") { return .once }
        if equals(field, "event") { return .event }
        return nil
    }

    /// The event of an `event` line, nil when unknown.
    package var event: EventKind? { EventKind(rawValue: string(index.hub.event)) }

    /// Checks that the envelope has a known kind, a valid node, and the fields of its kind. A plain line passes.
    package func checkEnvelope() throws(MessageError) {
        guard isInner else { return }
        let hub = index.hub
        guard let kind else { throw MessageError(.envelope, at: hub.kind.start, "kind") }
        var needsNode = true
        switch kind {
        case .once: break
        case .up: try require(hub.session != nil, "session")
        case .ack:
            try require(hub.key.isPresent && hub.key.count > 0, "key")
            if !hub.force || hub.version.isPresent {
                try require(
                    unsafe withValue(hub.version) { unsafe ResourceVersion.isValid($0) } || hub.force && hub.version.count == 0, "version")
            }
            try require(index.header.messageID.count > 0, "msg_id")
        case .event:
            switch event {
            case .connected, .disconnected: try require(hub.session != nil, "session")
            case .close: break
            case .who:
                needsNode = false
                try require(index.header.messageID.count > 0, "msg_id")
            case .live:
                needsNode = false
                try require(index.header.parentID.count > 0, "parent_msg_id")
            case .reset: needsNode = false
            case nil: try require(false, "event")
            }
        }
        if needsNode {
            try require(unsafe withValue(hub.node) { unsafe NodeName.isValid($0) }, "node")
        }
    }

    private func require(_ holds: Bool, _ member: String) throws(MessageError) {
        guard holds else { throw MessageError(.envelope, at: 0, member) }
    }
}
