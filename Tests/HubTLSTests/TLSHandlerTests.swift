// TLSHandler on both sides of an in-memory wire, one event loop, no sockets and no time.

internal import HubTLS
internal import NIOCore
internal import NIOEmbedded
internal import Testing

@Suite("TLSHandler")
struct TLSHandlerTests {
    let pki: TestPKI

    init() throws { pki = try TestPKI() }

    @Test("a mutual handshake tells each side the other's certificate before any plaintext")
    func mutualHandshake() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        let seen = try #require(wire.server.handshakes.first)
        #expect(seen.peer?.commonNames == ["system:node:edge-0"])
        #expect(seen.peer?.organizations == ["system:nodes"])
        #expect(seen.version == "TLSv1.3")
        #expect(!seen.isResumed)
        #expect(wire.client.handshakes.first?.peer?.commonNames == ["hub"])
        try wire.finish()
    }

    @Test("data crosses in both directions, whatever its size", arguments: [1, 16_384, 16_385, 300_000])
    func data(size: Int) throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        let up = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        let down = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 11) })
        wire.clientChannel.writeAndFlush(up, promise: nil)
        wire.serverChannel.writeAndFlush(down, promise: nil)
        try wire.run()
        #expect(wire.server.received == up)
        #expect(wire.client.received == down)
        try wire.finish()
    }

    @Test("ciphertext may arrive one byte at a time")
    func split() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge), unit: 1)
        try wire.run()
        wire.clientChannel.writeAndFlush(ByteBuffer(string: "one byte at a time"), promise: nil)
        try wire.run()
        #expect(String(buffer: wire.server.received) == "one byte at a time")
        try wire.finish()
    }

    @Test("writes between two flushes share one record and all their promises succeed")
    func joined() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        let before = wire.bytesToServer
        let promises = (0..<10).map { _ in wire.clientChannel.eventLoop.makePromise(of: Void.self) }
        for promise in promises { wire.clientChannel.write(ByteBuffer(string: "0123456789"), promise: promise) }
        wire.clientChannel.flush()
        try wire.run()
        #expect(wire.server.received.readableBytes == 100)
        // 5 bytes of record header, 1 of content type, 16 of tag.
        #expect(wire.bytesToServer - before == 122)
        for promise in promises { try promise.futureResult.wait() }
        try wire.finish()
    }

    @Test("plaintext written before the handshake ends is sent after it, and bounded")
    func early() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        wire.clientChannel.writeAndFlush(ByteBuffer(string: "early"), promise: nil)
        let tooMuch = wire.clientChannel.eventLoop.makePromise(of: Void.self)
        wire.clientChannel.write(ByteBuffer(repeating: 0, count: TLSHandler.maxEarlyPlaintext), promise: tooMuch)
        #expect(throws: TLSError.self) { try tooMuch.futureResult.wait() }
        try wire.run()
        #expect(String(buffer: wire.server.received) == "early")
        try wire.finish()
    }

    @Test("a second connection resumes the session, and the peer is still known", arguments: [false, true])
    func resumption(abrupt: Bool) throws {
        let server = try pki.serverContext()
        let client = try pki.clientContext(identity: pki.edge)
        let first = try Wire(server: server, client: client)
        try first.run()
        first.serverChannel.writeAndFlush(ByteBuffer(string: "x"), promise: nil)
        try first.run()
        let session = try #require(first.clientHandler.session)
        if abrupt { first.cut() } else { try first.finish() }
        let second = try Wire(server: server, client: client, session: session)
        try second.run()
        #expect(second.server.handshakes.first?.isResumed == true)
        #expect(second.client.handshakes.first?.isResumed == true)
        #expect(second.server.handshakes.first?.peer?.commonNames == ["system:node:edge-0"])
        try second.finish()
    }

    @Test("a new context resumes nothing")
    func noResumptionAcrossContexts() throws {
        let client = try pki.clientContext(identity: pki.edge)
        let first = try Wire(server: pki.serverContext(), client: client)
        try first.run()
        first.serverChannel.writeAndFlush(ByteBuffer(string: "x"), promise: nil)
        try first.run()
        let session = try #require(first.clientHandler.session)
        let second = try Wire(server: pki.serverContext(), client: client, session: session)
        try second.run()
        #expect(second.server.handshakes.first?.isResumed == false)
        try first.finish()
        try second.finish()
    }

    @Test("a client without certificate is refused, and told by an alert")
    func noCertificate() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext())
        try wire.run()
        #expect(wire.server.handshakes.isEmpty)
        #expect(wire.server.errors.compactMap { ($0 as? TLSError)?.code } == [.handshake])
        #expect(!wire.serverChannel.isActive)
        #expect(wire.client.errors.contains { $0 is TLSError })
        wire.cut()
    }

    @Test("a client certificate of another authority is refused")
    func foreignCertificate() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: TestPKI().edge))
        try wire.run()
        #expect(wire.server.handshakes.isEmpty)
        let detail = wire.server.errors.compactMap { ($0 as? TLSError)?.detail }.first
        #expect(detail?.contains("does not verify") == true)
        wire.cut()
    }

    @Test("a certificate is optional where the server says so")
    func optionalCertificate() throws {
        let wire = try Wire(server: pki.serverContext(.optional), client: pki.clientContext())
        try wire.run()
        #expect(wire.server.handshakes.map(\.peer) == [nil])
        try wire.finish()
    }

    @Test(
        "a client checks the server's authority and name",
        arguments: [
            (PeerName.dns("hub.example"), true), (.address("127.0.0.1"), true), (.any, true), (.dns("other"), false),
            (.address("10.0.0.1"), false),
        ])
    func peerName(name: PeerName, isAccepted: Bool) throws {
        let wire = try Wire(server: pki.serverContext(.none), client: pki.clientContext(), peerName: name)
        try wire.run()
        #expect(wire.client.handshakes.isEmpty != isAccepted)
        wire.cut()
        let foreign = try Wire(server: TestPKI().serverContext(.none), client: pki.clientContext(), peerName: name)
        try foreign.run()
        #expect(foreign.client.handshakes.isEmpty)
        foreign.cut()
    }

    @Test("bytes that are no TLS end the connection with one error")
    func garbage() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        _ = try? wire.serverChannel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"))
        #expect(wire.server.errors.compactMap { ($0 as? TLSError)?.code } == [.handshake])
        #expect(!wire.serverChannel.isActive)
        wire.cut()
    }

    @Test("a damaged record ends the connection with one error")
    func damaged() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        wire.clientChannel.writeAndFlush(ByteBuffer(string: "hello"), promise: nil)
        var record = try #require(try wire.clientChannel.readOutbound(as: ByteBuffer.self))
        record.setInteger((record.getInteger(at: record.writerIndex - 1, as: UInt8.self) ?? 0) ^ 1, at: record.writerIndex - 1)
        _ = try? wire.serverChannel.writeInbound(record)
        #expect(wire.server.errors.compactMap { ($0 as? TLSError)?.code } == [.protocolViolation])
        #expect(wire.server.received.readableBytes == 0)
        wire.cut()
    }

    @Test("close sends close_notify, which closes the other side without an error")
    func closing() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        wire.clientChannel.write(ByteBuffer(string: "last words"), promise: nil)
        wire.clientChannel.close(promise: nil)
        try wire.run()
        #expect(String(buffer: wire.server.received) == "last words")
        #expect(!wire.serverChannel.isActive)
        #expect(wire.server.errors.isEmpty)
        #expect(wire.client.errors.isEmpty)
    }

    @Test("an end of the socket without close_notify is reported as truncation")
    func truncated() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        wire.serverChannel.close(mode: .all, promise: nil)
        #expect(wire.server.errors.isEmpty)
        wire.clientChannel.pipeline.fireChannelInactive()
        #expect(wire.client.errors.compactMap { ($0 as? TLSError)?.code } == [.truncated])
        wire.cut()
    }

    @Test("a half-closed client still gets its answer")
    func halfClosure() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge), allowsHalfClosure: true)
        try wire.run()
        wire.clientChannel.writeAndFlush(ByteBuffer(string: "question"), promise: nil)
        wire.clientChannel.close(mode: .output, promise: nil)
        try wire.run()
        #expect(wire.server.inputClosed == 1)
        #expect(wire.serverChannel.isActive)
        wire.serverChannel.writeAndFlush(ByteBuffer(string: "answer"), promise: nil)
        try wire.run()
        #expect(String(buffer: wire.client.received) == "answer")
        try wire.finish()
    }

    @Test("a write after close fails")
    func writeAfterClose() throws {
        let wire = try Wire(server: pki.serverContext(), client: pki.clientContext(identity: pki.edge))
        try wire.run()
        wire.clientChannel.close(promise: nil)
        #expect(throws: ChannelError.self) { try wire.clientChannel.writeAndFlush(ByteBuffer(string: "x")).wait() }
        try wire.run()
    }
}
