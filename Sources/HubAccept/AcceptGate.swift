// The door of a server: it accepts always, and lets connections in as `AcceptQueue` says (design: "hub-wsserve", rule 2).
//
// Connections are taken out of the listen queue at once, because that has one order for all addresses. One that waits is not yet known
// to its event loop: it has no TLS, no HTTP and no timer, only a descriptor.

package import NIOCore

/// In the pipeline of the listening channel, which reads only when it is told to: one read accepts up to `batch` connections.
package final class AcceptGate: ChannelInboundHandler {
    package typealias InboundIn = any Channel
    package typealias InboundOut = any Channel

    package enum Event {
        case accepted
        /// More wait than may, and this one's address has the most of them.
        case refusedWaiting
        /// More are open than may be.
        case refusedOpen
        /// Mostly the limit of open files; accepting goes on after a pause.
        case failed(any Error)
    }

    /// Connections of one read. The kernel drops what comes faster than it is accepted, also that of honest peers.
    package static let batch: UInt = 64

    private let limits: AcceptLimits
    private let isPaused: () -> Bool
    private let report: (Event, SocketAddress?) -> Void
    private var queue: AcceptQueue<any Channel>
    /// Those that are served, and not yet let in.
    private var served: [ObjectIdentifier: AddressKey] = [:]
    /// Those that have begun, whether let in or not.
    private var begun = 0
    private var isReading = false
    private var isEnding = false
    private var context: ChannelHandlerContext?

    /// - Parameters:
    ///   - isPaused: nothing is accepted and nothing begins; call `proceed` when that ends.
    ///   - report: gets what has happened, with the address of whom it concerns.
    package init(limits: AcceptLimits, isPaused: @escaping () -> Bool, report: @escaping (Event, SocketAddress?) -> Void) {
        self.limits = limits
        self.isPaused = isPaused
        self.report = report
        queue = AcceptQueue(limits: limits)
    }

    /// Connections that are served, and not yet let in.
    package var active: Int { queue.active }

    /// Connections that wait.
    package var waiting: Int { queue.waiting }

    package func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    package func handlerRemoved(context: ChannelHandlerContext) { endWaiting() }

    package func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        proceed()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        endWaiting()
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        let key = AddressKey(channel.remoteAddress)
        report(.accepted, channel.remoteAddress)
        guard !isEnding else { return channel.close(promise: nil) }
        if begun + queue.waiting >= limits.open {
            // Whoever has the most of what is not let in makes room.
            guard let other = queue.dropNewest(of: key) else { return refuse(channel, .refusedOpen) }
            refuse(other, .refusedOpen)
        }
        switch queue.arrive(channel, from: key) {
        case .begin: begin(channel, key)
        case .wait: break
        case .refuse(let other): refuse(other, .refusedWaiting)
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.fireChannelReadComplete()
        proceed()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        report(.failed(error), nil)
        isReading = false
        context.fireErrorCaught(error)
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(100)) { self.proceed() }
    }

    /// A connection is let in, or closed: its place is free.
    ///
    /// The caller holds the channel: as long as it does, no other one can have the same identity.
    package func finished(_ channel: any Channel) {
        guard let key = served.removeValue(forKey: ObjectIdentifier(channel)) else { return }
        queue.ended(key)
        proceed()
    }

    /// Lets the next ones begin and accepts the next one, if that is possible now.
    package func proceed() {
        guard !isPaused(), !isEnding, let context else { return }
        while let channel = queue.next() { begin(channel, AddressKey(channel.remoteAddress)) }
        guard !isReading else { return }
        isReading = true
        context.read()
    }

    private func begin(_ channel: any Channel, _ key: AddressKey) {
        guard let context else { return channel.close(promise: nil) }
        served[ObjectIdentifier(channel)] = key
        begun += 1
        let gate = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        channel.closeFuture.whenComplete { _ in
            eventLoop.execute {
                gate.value.begun -= 1
                gate.value.finished(channel)
            }
        }
        context.fireChannelRead(wrapInboundOut(channel))
    }

    private func refuse(_ channel: any Channel, _ event: Event) {
        report(event, channel.remoteAddress)
        channel.close(promise: nil)
    }

    /// The server ends.
    private func endWaiting() {
        isEnding = true
        context = nil
        for channel in queue.dropAll() { channel.close(promise: nil) }
    }
}
