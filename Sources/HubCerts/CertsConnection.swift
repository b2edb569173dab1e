// One HTTPS connection: HTTP/1.1 requests one after the other, each with a deadline and a bounded body.

internal import HubMessage
internal import HubPipe
internal import HubTLS
internal import NIOCore
internal import NIOHTTP1

/// The last handler of the pipeline, after TLS and HTTP.
final class CertsConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private struct Receiving {
        let task: CertsService.Task
        var body: [UInt8] = []
    }

    private enum State {
        case handshaking
        case idle
        case receiving(Receiving)
        /// The answer is known; the rest of the request is thrown away first.
        case discarding(CertsResponse, count: Int)
        /// Waits for a record or a line; the number tells this wait from an earlier one.
        case waiting(Int)
        case writing
        /// The answer was sent before the request had come in whole: what still comes is thrown away for a moment, because closing with
        /// unread bytes would make the kernel destroy the answer.
        case lingering
        case ended
    }

    private static let lingerTime = TimeAmount.seconds(2)

    private let loop: CertsLoop
    private var state = State.handshaking
    private var identity = ClientIdentity.none
    private var facts: CertificateFacts?
    /// The files were read again since this connection began: it answers one more request, and believes no client certificate.
    private var isRetired = false
    private var remote = ""
    private var context: ChannelHandlerContext?
    private var deadline: Scheduled<Void>?
    private var request = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
    private var isRequestOpen = false
    private var waits = 0
    private var hasHandshake = false
    private var hasAnswered = false

    init(_ loop: CertsLoop) { self.loop = loop }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        remote = context.channel.remoteAddress?.ipAddress ?? ""
        arm(.nanoseconds(loop.settings.requestTimeout))
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    func channelInactive(context: ChannelHandlerContext) {
        if !hasHandshake { loop.counters.add(.failedHandshakes) }
        end()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let completed = event as? TLSHandshakeCompleted {
            hasHandshake = true
            identity = ClientIdentity(completed.peer)
            facts = completed.peer?.facts
            if case .handshaking = state { state = .idle }
            if loop.isDraining { close() }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is HTTPParserError {
            // The protocol error handler before this one has answered 400, unless an answer was under way.
            loop.counters.add(.malformedRequests)
            if case .idle = state { linger() } else { close() }
            return
        }
        if let error = error as? TLSError, error.code != .truncated {
            loop.notify(Notice(.debug, "connection_failed", ["remote": remote, "reason": error.description]))
        }
        close()
    }

    /// The server ends.
    func drain() {
        switch state {
        case .idle, .handshaking: close()
        case .receiving, .discarding, .waiting, .writing, .lingering, .ended: break
        }
    }

    /// The files have been read again.
    func retire() {
        isRetired = true
        if case .idle = state { close() }
    }

    /// A client certificate that was verified under authorities which may have gone.
    private var isStale: Bool { isRetired && identity != .none }

    private func sendStale() {
        loop.counters.add(.limited)
        send(CertsResponse(503, "try again").with("Retry-After", "1").closing())
    }

    private func end() {
        deadline?.cancel()
        deadline = nil
        if case .receiving(let receiving) = state { loop.buffered -= receiving.body.count }
        state = .ended
        context = nil
        loop.remove(self)
    }

    private func close() { context?.close(promise: nil) }

    private func arm(_ time: TimeAmount) {
        deadline?.cancel()
        deadline = loop.eventLoop.assumeIsolated().scheduleTask(in: time) { self.timeOut() }
    }

    private func timeOut() {
        switch state {
        case .ended, .lingering: break
        case .receiving, .discarding:
            loop.counters.add(.timeouts)
            return send(CertsResponse(408, "the request did not come in time").closing())
        case .waiting:
            loop.counters.add(.timeouts)
            return send(CertsResponse(503, "try again").with("Retry-After", "5").closing())
        case .handshaking, .writing: loop.counters.add(.timeouts)
        // After an answer it is the usual end of a connection that its client keeps open.
        case .idle: if !hasAnswered { loop.counters.add(.timeouts) }
        }
        close()
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): begin(head)
        case .body(let bytes): take(bytes)
        case .end: finish()
        }
    }

    private func begin(_ head: HTTPRequestHead) {
        guard case .idle = state else { return }
        request = head
        isRequestOpen = true
        arm(.nanoseconds(loop.settings.requestTimeout))
        guard !isStale else { return sendStale() }
        let admission = loop.service.begin(
            CertsRequest(
                method: head.method.rawValue, target: head.uri, nodeNames: head.headers["NodeName"],
                authorizations: head.headers["Authorization"], identity: identity, facts: facts, remote: remote),
            now: loop.now)
        if let length = head.headers.first(name: "Content-Length").flatMap({ Int($0) }), length > loop.settings.maxBody {
            return sendTooLarge()
        }
        let isAsking = head.headers["Expect"].contains { $0.lowercased() == "100-continue" }
        switch admission {
        case .answer(let response):
            if isAsking { send(response.closing()) } else { state = .discarding(response, count: 0) }
        case .proceed(let task):
            state = .receiving(Receiving(task: task))
            if isAsking {
                context?.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
            }
        }
    }

    private func take(_ bytes: ByteBuffer) {
        let count = bytes.readableBytes
        switch state {
        case .receiving(var receiving):
            guard receiving.body.count + count <= loop.settings.maxBody else { return sendTooLarge() }
            guard loop.buffered + count <= loop.settings.maxBuffered else {
                loop.counters.add(.limited)
                return send(CertsResponse(503, "too many requests at once").with("Retry-After", "5").closing())
            }
            loop.buffered += count
            // Taken out first, so that the array is not copied.
            state = .idle
            receiving.body.append(contentsOf: bytes.readableBytesView)
            state = .receiving(receiving)
        case .discarding(let response, let before):
            guard before + count <= loop.settings.maxBody else { return sendTooLarge() }
            state = .discarding(response, count: before + count)
        case .handshaking, .idle, .waiting, .writing, .lingering, .ended: break
        }
    }

    private func sendTooLarge() {
        loop.counters.add(.tooLarge)
        send(CertsResponse(413, "the body is larger than \(loop.settings.maxBody) bytes").closing())
    }

    private func finish() {
        isRequestOpen = false
        switch state {
        case .receiving(let receiving):
            loop.buffered -= receiving.body.count
            state = .idle
            guard !isStale else { return sendStale() }
            answer(loop.service.finish(receiving.task, body: receiving.body, now: loop.now))
        case .discarding(let response, _): send(response)
        case .lingering: close()
        case .handshaking, .idle, .waiting, .writing, .ended: break
        }
    }

    private func answer(_ answer: CertsService.Answer) {
        switch answer {
        case .now(let response): send(response)
        case .afterRecord(let response, let record):
            let number = wait()
            loop.journal.append(record) { isWritten in
                // The signature counts, whether or not its client is still there.
                if isWritten { self.loop.service.recorded(record) } else { self.loop.service.unrecorded(record) }
                self.resume(number, isWritten ? response : CertsResponse(503, "the signature cannot be recorded").with("Retry-After", "30"))
            }
        case .afterLine(let response, let line):
            let promise = loop.eventLoop.makePromise(of: Void.self)
            guard loop.outbox.submit(line, promise) else {
                promise.fail(ChannelError.eof)
                loop.counters.add(.limited)
                return send(CertsResponse(503, "the report cannot be handed on").with("Retry-After", "5"))
            }
            let number = wait()
            promise.futureResult.assumeIsolated().whenComplete { result in
                guard case .success = result else { return self.resume(number, CertsResponse(503, "the report cannot be handed on")) }
                self.loop.counters.add(.taskReports)
                self.resume(number, response)
            }
        }
    }

    private func wait() -> Int {
        waits += 1
        state = .waiting(waits)
        arm(.nanoseconds(loop.settings.requestTimeout))
        return waits
    }

    private func resume(_ number: Int, _ response: CertsResponse) {
        if case .waiting(number) = state { send(response) }
    }

    // MARK: Answers

    private func send(_ response: CertsResponse) {
        guard let context else { return }
        if case .receiving(let receiving) = state { loop.buffered -= receiving.body.count }
        state = .writing
        hasAnswered = true
        arm(.nanoseconds(loop.settings.requestTimeout))
        let closes = response.closes || isRetired || loop.isDraining || !request.isKeepAlive
        var headers = HTTPHeaders(response.headers.map { ($0.name, $0.value) })
        headers.add(name: "Content-Length", value: "\(response.body.count)")
        headers.add(name: "Date", value: Timestamp.http(loop.now))
        if closes { headers.add(name: "Connection", value: "close") }
        let head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: response.status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: nil)
        }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { result in
            guard case .success = result, case .writing = self.state else { return self.close() }
            if closes {
                self.linger()
            } else {
                self.state = .idle
                self.arm(.nanoseconds(self.loop.settings.requestTimeout))
                if self.loop.isDraining { self.close() }
            }
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: promise)
    }

    private func linger() {
        guard isRequestOpen, let context else { return close() }
        state = .lingering
        arm(Self.lingerTime)
        context.close(mode: .output, promise: nil)
    }
}
