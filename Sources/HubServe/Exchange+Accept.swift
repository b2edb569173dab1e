// What the door has to say, as counters and log lines.

internal import HubAccept
internal import NIOCore

extension ServeSettings {
    var acceptLimits: AcceptLimits {
        AcceptLimits(active: maxHandshakes, perAddress: maxHandshakesPerAddress, waiting: maxWaiting, open: maxConnections)
    }
}

extension Exchange {
    func note(_ event: AcceptGate.Event, of address: SocketAddress?) {
        switch event {
        case .accepted: counters.add(.accepted)
        case .refusedWaiting: noteRefusal(.refusedWaiting, "too many connections of this address wait", address)
        case .refusedOpen: noteRefusal(.refusedOpen, "too many connections are open", address)
        case .failed(let error): notices.peer(.warning, "accept_failed", ["reason": "\(error)"])
        }
    }

    private func noteRefusal(_ cause: ServeCounters.Cause, _ reason: String, _ address: SocketAddress?) {
        counters.add(cause)
        notices.peer(.warning, "refused", ["remote": address?.hostAndPort ?? "", "reason": reason])
    }
}

extension SocketAddress {
    /// `192.0.2.7:4711` or `[2001:db8::7]:4711`.
    var hostAndPort: String {
        guard let ip = ipAddress, let port else { return "" }
        return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
    }
}
