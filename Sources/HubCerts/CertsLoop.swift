// What all connections of the HTTPS side share. It belongs to their event loop.

internal import HubPipe
internal import HubTLS
internal import NIOCore
internal import Synchronization

final class CertsLoop {
    let eventLoop: any EventLoop
    let settings: CertsSettings
    let service: CertsService
    let counters: CertsCounters
    let journal: SigningJournal
    let outbox: TaskOutbox
    let notify: (Notice) -> Void
    /// For new connections.
    var context: TLSContext
    /// Bytes of bodies that are being received.
    var buffered = 0
    private(set) var isDraining = false
    private var connections: [ObjectIdentifier: CertsConnection] = [:]
    private let open: Shared<Int>

    init(
        eventLoop: any EventLoop, settings: CertsSettings, service: CertsService, counters: CertsCounters, journal: SigningJournal,
        outbox: TaskOutbox, context: TLSContext, open: Shared<Int>, notify: @escaping (Notice) -> Void
    ) {
        self.eventLoop = eventLoop
        self.settings = settings
        self.service = service
        self.counters = counters
        self.journal = journal
        self.outbox = outbox
        self.context = context
        self.open = open
        self.notify = notify
    }

    /// - Returns: false when the server ends.
    func add(_ connection: CertsConnection) -> Bool {
        guard !isDraining else { return false }
        connections[ObjectIdentifier(connection)] = connection
        open.set(connections.count)
        return true
    }

    func remove(_ connection: CertsConnection) {
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        open.set(connections.count)
    }

    /// Connections end once the request that they are at is answered.
    func drain() {
        isDraining = true
        for connection in connections.values { connection.drain() }
    }

    /// Connections that began before the files were read again end once the request that they are at is answered.
    func retire() {
        for connection in connections.values { connection.retire() }
    }

    var now: Int64 { wallMicroseconds() / 1_000_000 }
}

/// A number that one thread sets and others read.
final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func set(_ value: Value) { self.value.withLock { $0 = value } }

    var current: Value { value.withLock { $0 } }
}
