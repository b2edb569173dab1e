// TLS as a SwiftNIO channel handler, for both sides: ByteBuffers of ciphertext towards the socket, of plaintext towards the application.
//
// - Plaintext that is written before the handshake ends waits, up to `maxEarlyPlaintext`; nothing is read up before it ends.
// - Writes between two flushes are joined into full records, and what a flush makes leaves in few buffers.
// - Tickets, key updates and alerts that reading causes are sent on; a peer that causes them without reading its own side is cut off.
// - The first failure ends the connection: the alert is sent, pending writes fail, one error is fired, the channel closes.
// - close_notify is sent on close. `close(mode: .output)` sends it and goes on reading. One that arrives is answered and closes the channel,
//   or, with `allowsHalfClosure`, becomes `ChannelEvent.inputClosed`. An end of the socket without it is the error `.truncated`.
//
// Deadlines belong to the application.

package import NIOCore

package final class TLSHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private enum State {
        case handshaking
        case open
        /// Failed, or closed by either side.
        case ended
    }

    private struct Pending {
        var plaintext: ByteBuffer
        var promise: EventLoopPromise<Void>?
    }

    /// Most plaintext that may wait for the end of the handshake, in bytes.
    package static let maxEarlyPlaintext = 256 << 10
    /// Most plaintext that is read up in one buffer.
    private static let readUnit = 64 << 10
    /// Ciphertext is handed to the socket in buffers of about this size.
    private static let writeUnit = 64 << 10
    /// Most bytes that reading may cause to be sent while the socket takes nothing.
    private static let maxUnreadAnswers = 16 << 10

    /// A channel's own is the same, and to ask for it costs more than its work.
    private static let allocator = ByteBufferAllocator()

    private let allowsHalfClosure: Bool
    private var connection: TLSConnection
    private var state = State.handshaking
    private var pending = MarkedCircularBuffer<Pending>(initialCapacity: 0)
    private var earlyBytes = 0
    private var unreadAnswers = 0
    private var sentCloseNotify = false
    private var gotCloseNotify = false
    private var needsFlush = false
    private var isReadWanted = false

    private init(_ connection: consuming TLSConnection, allowsHalfClosure: Bool) {
        self.connection = connection
        self.allowsHalfClosure = allowsHalfClosure
    }

    /// - Throws: `.allocation` when OpenSSL has no memory.
    package static func server(_ context: TLSContext, allowsHalfClosure: Bool = false) throws(TLSError) -> TLSHandler {
        TLSHandler(try TLSConnection.server(context), allowsHalfClosure: allowsHalfClosure)
    }

    /// - Parameter identity: the certificate to show instead of the context's.
    /// - Parameter session: what `session` of an earlier handler for the same server returned.
    package static func client(
        _ context: TLSContext, peerName: PeerName, identity: TLSIdentity? = nil, session: TLSSession? = nil, allowsHalfClosure: Bool = false
    ) throws(TLSError) -> TLSHandler {
        TLSHandler(
            try TLSConnection.client(context, peerName: peerName, identity: identity, session: session),
            allowsHalfClosure: allowsHalfClosure)
    }

    /// The session that a later client can resume; on the channel's event loop, best after some data has come.
    package var session: TLSSession? { state == .handshaking ? nil : connection.session }

    /// The peer's certificate, once the handshake has ended; on the channel's event loop.
    package var peer: TLSPeer? { state == .handshaking ? nil : connection.peer }

    /// The common name of the peer's issuer; on the channel's event loop.
    package var peerIssuer: String? { connection.peerIssuer }

    /// Verifies the client's certificate against the authorities of another context; on the channel's event loop.
    package func verifyPeer(by context: TLSContext) throws(TLSError) { try connection.verifyPeer(by: context) }

    /// Gives back the room that messages longer than those to come have left; on the channel's event loop.
    package func releaseRoom() { connection.trim(keeping: 0) }

    // MARK: Life

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { advance(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        advance(context)
        context.fireChannelActive()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        let before = state
        state = .ended
        failPending(ChannelError.ioOnClosedChannel)
        if before != .ended, !gotCloseNotify {
            let text =
                before == .open ? "the peer closed the socket without close_notify" : "the peer closed the socket during the handshake"
            context.fireErrorCaught(TLSError(.truncated, text, []))
        }
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        state = .ended
        failPending(ChannelError.ioOnClosedChannel)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.fireErrorCaught(error)
    }

    // MARK: Reading

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .ended else { return }
        let ciphertext = unwrapInboundIn(data)
        do throws(TLSError) {
            try receive(ciphertext)
        } catch {
            return fail(context, error)
        }
        if state == .handshaking { advance(context) }
        if state == .open { readUp(context, hint: ciphertext.readableBytes) }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        if needsFlush {
            needsFlush = false
            context.flush()
        }
        connection.trim()
        // Whoever asked for data must get some: a handshake message or a piece of a record is none.
        if isReadWanted, state != .ended { context.read() }
        context.fireChannelReadComplete()
    }

    package func read(context: ChannelHandlerContext) {
        isReadWanted = true
        context.read()
    }

    private func receive(_ ciphertext: ByteBuffer) throws(TLSError) {
        var problem: TLSError?
        unsafe ciphertext.withUnsafeReadableBytes { bytes in
            do throws(TLSError) { try unsafe connection.receive(bytes) } catch { problem = error }
        }
        if let problem { throw problem }
    }

    /// Goes on with the handshake.
    private func advance(_ context: ChannelHandlerContext) {
        guard state == .handshaking else { return }
        let isComplete: Bool
        do throws(TLSError) {
            isComplete = try connection.handshake()
        } catch {
            return fail(context, error)
        }
        sendOutput(context)
        needsFlush = false
        context.flush()
        guard isComplete else {
            // Without automatic reading nobody else asks for the peer's answer.
            context.read()
            return
        }
        state = .open
        // The messages of a handshake are longer than those of most connections that follow.
        connection.trim(keeping: 0)
        let event = TLSHandshakeCompleted(peer: connection.peer, isResumed: connection.isResumed, version: connection.version)
        context.fireUserInboundEventTriggered(event)
        guard state == .open, pending.hasMark else { return }
        encrypt(context)
        context.flush()
    }

    /// Decrypts all that has come and hands it up.
    private func readUp(_ context: ChannelHandlerContext, hint: Int) {
        var size = min(max(hint, 512), Self.readUnit)
        // The state is looked at again after each buffer: the application may have closed the channel.
        while state == .open, !gotCloseNotify {
            var plaintext = Self.allocator.buffer(capacity: size)
            let outcome: TLSConnection.Read
            do throws(TLSError) {
                outcome = try decrypt(into: &plaintext)
            } catch {
                if plaintext.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(plaintext)) }
                return fail(context, error)
            }
            answer(context)
            if plaintext.readableBytes > 0 {
                isReadWanted = false
                context.fireChannelRead(wrapInboundOut(plaintext))
            }
            switch outcome {
            case .bytes: size = Self.readUnit
            case .needsInput: return
            case .closed: return peerClosed(context)
            }
        }
    }

    /// Fills `plaintext` up to `readUnit`.
    private func decrypt(into plaintext: inout ByteBuffer) throws(TLSError) -> TLSConnection.Read {
        var outcome = TLSConnection.Read.needsInput
        repeat {
            var problem: TLSError?
            _ = unsafe plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: 512) { space in
                do throws(TLSError) {
                    outcome = unsafe try connection.read(into: space)
                } catch {
                    problem = error
                }
                if problem == nil, case .bytes(let count) = outcome { return count }
                return 0
            }
            if let problem { throw problem }
            guard case .bytes = outcome else { return outcome }
        } while plaintext.readableBytes < Self.readUnit
        return outcome
    }

    /// Sends what reading caused.
    private func answer(_ context: ChannelHandlerContext) {
        let count = connection.outputCount
        guard count > 0 else { return }
        unreadAnswers = context.channel.isWritable ? 0 : unreadAnswers + count
        guard unreadAnswers <= Self.maxUnreadAnswers else {
            return fail(context, TLSError(.limit, "the peer causes TLS answers and does not read them", []))
        }
        sendOutput(context)
    }

    private func peerClosed(_ context: ChannelHandlerContext) {
        gotCloseNotify = true
        if allowsHalfClosure, !sentCloseNotify {
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        } else {
            close(context: context, mode: .all, promise: nil)
        }
    }

    // MARK: Writing

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard state != .ended, !sentCloseNotify else {
            promise?.fail(state == .ended ? ChannelError.ioOnClosedChannel : ChannelError.outputClosed)
            return
        }
        let plaintext = unwrapOutboundIn(data)
        if state == .handshaking {
            earlyBytes += plaintext.readableBytes
            guard earlyBytes <= Self.maxEarlyPlaintext else {
                promise?.fail(TLSError(.limit, "too much plaintext before the end of the handshake", []))
                return
            }
        }
        pending.append(Pending(plaintext: plaintext, promise: promise))
    }

    package func flush(context: ChannelHandlerContext) {
        pending.mark()
        if state == .open { encrypt(context) }
        needsFlush = false
        context.flush()
    }

    /// Encrypts everything up to the mark. Small writes share records.
    private func encrypt(_ context: ChannelHandlerContext) {
        var batch = CiphertextBatch(unit: Self.writeUnit, allocator: Self.allocator)
        do throws(TLSError) {
            while pending.hasMark, var next = pending.popFirst() {
                // Joining costs a copy; it pays as long as the record is not full.
                while pending.hasMark, let following = pending.first,
                    next.plaintext.readableBytes + following.plaintext.readableBytes <= TLSConnection.maxRecord
                {
                    var joined = pending.removeFirst()
                    next.plaintext.writeBuffer(&joined.plaintext)
                    batch.willComplete(next.promise)
                    next.promise = joined.promise
                }
                batch.willComplete(next.promise)
                while next.plaintext.readableBytes > 0 {
                    let count = min(next.plaintext.readableBytes, TLSConnection.maxRecord)
                    try encrypt(&next.plaintext, count)
                    unsafe connection.drain { unsafe batch.append($0, expecting: next.plaintext.readableBytes) }
                    if next.plaintext.readableBytes > 0, batch.isFull { context.write(wrapOutboundOut(batch.take()), promise: nil) }
                }
                if batch.isFull { batch.send(context) }
            }
        } catch {
            batch.fail(error)
            return fail(context, error)
        }
        batch.send(context)
        connection.trim()
    }

    private func encrypt(_ plaintext: inout ByteBuffer, _ count: Int) throws(TLSError) {
        var problem: TLSError?
        _ = unsafe plaintext.readWithUnsafeReadableBytes { bytes in
            do throws(TLSError) {
                try unsafe connection.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
            } catch {
                problem = error
            }
            return count
        }
        if let problem { throw problem }
    }

    /// Hands waiting ciphertext to the socket without a flush.
    private func sendOutput(_ context: ChannelHandlerContext) {
        let count = connection.outputCount
        guard count > 0 else { return }
        var ciphertext = Self.allocator.buffer(capacity: count)
        unsafe connection.drain { _ = unsafe ciphertext.writeBytes($0) }
        context.write(wrapOutboundOut(ciphertext), promise: nil)
        needsFlush = true
    }

    // MARK: Closing

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .input:
            promise?.fail(ChannelError.operationUnsupported)
        case .output:
            guard state == .open, !sentCloseNotify else {
                promise?.fail(state == .open ? ChannelError.outputClosed : ChannelError.ioOnClosedChannel)
                return
            }
            pending.mark()
            encrypt(context)
            sendCloseNotify(context, promise: promise)
        case .all:
            if state == .open {
                pending.mark()
                encrypt(context)
            }
            if state == .open, !sentCloseNotify { sendCloseNotify(context, promise: nil) }
            state = .ended
            failPending(ChannelError.ioOnClosedChannel)
            context.close(mode: .all, promise: promise)
        }
    }

    private func sendCloseNotify(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        sentCloseNotify = true
        connection.shutdown()
        var ciphertext = Self.allocator.buffer(capacity: connection.outputCount)
        unsafe connection.drain { _ = unsafe ciphertext.writeBytes($0) }
        needsFlush = false
        context.writeAndFlush(wrapOutboundOut(ciphertext), promise: promise)
    }

    private func fail(_ context: ChannelHandlerContext, _ error: TLSError) {
        guard state != .ended else { return }
        state = .ended
        sendOutput(context)
        needsFlush = false
        context.flush()
        failPending(error)
        context.fireErrorCaught(error)
        context.close(mode: .all, promise: nil)
    }

    private func failPending(_ error: any Error) {
        while let write = pending.popFirst() { write.promise?.fail(error) }
    }
}
