// Upstream messages of one edge: pod statuses as KubeEdge's edge sends them, with a sequence number per node.

internal import HubMessage
internal import HubPipe
package import NIOCore

extension EdgeHandler {
    /// Bytes that are written in one turn of the event loop, so that the other connections get theirs.
    private static let turn = 64 << 10

    /// Sends what may be sent now, and comes back for the rest.
    func flood() {
        guard let context, phase == .open, !isSilent, let plan = owner.activeFlood, !node.isFlooded else { return }
        guard context.channel.isWritable else { return }
        let limit = owner.sequenceLimit(of: node, plan)
        var batch = context.channel.allocator.buffer(capacity: Self.turn + plan.size)
        var count = 0
        var bytes = 0
        while node.nextSequence < limit, batch.readableBytes < Self.turn {
            ClientFrame.append(.text, mask: owner.mask(), to: &batch, expecting: plan.size) { buffer in
                let start = buffer.writerIndex
                EdgeMessage.writePodStatus(
                    node: node.name, sequence: node.nextSequence, size: plan.size, &owner.random, now: wallMicroseconds(), to: &buffer)
                bytes += buffer.writerIndex - start
            }
            node.nextSequence += 1
            count += 1
        }
        if count > 0 { send(batch, count, bytes, isLast: node.nextSequence == plan.count, context) }
        guard node.nextSequence < plan.count, !isFloodScheduled else { return }
        isFloodScheduled = true
        let again = { [weak self] () -> Void in
            self?.isFloodScheduled = false
            self?.flood()
        }
        let loop = context.eventLoop.assumeIsolated()
        if node.nextSequence < limit {
            loop.execute(again)
        } else {
            loop.scheduleTask(in: owner.wait(for: node, plan), again)
        }
    }

    private func send(_ batch: ByteBuffer, _ count: Int, _ bytes: Int, isLast: Bool, _ context: ChannelHandlerContext) {
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [owner, node] result in
            switch result {
            case .success: owner.sent(count, bytes: bytes, isLast: isLast, of: node)
            case .failure: owner.lost(count, isLast: isLast, of: node)
            }
        }
        context.writeAndFlush(wrapOutboundOut(batch), promise: promise)
    }
}

extension EdgeMessage {
    /// A pod's status of about `size` bytes, at least what its fixed members need.
    ///
    /// Members beside KubeEdge's: `seq`, the number of the message among those of its node, and `sent`, microseconds since 1970.
    package static func writePodStatus(
        node: String, sequence: Int, size: Int, _ random: inout FastRandom, now: Int64, to buffer: inout ByteBuffer
    ) {
        let start = buffer.writerIndex
        writeHeader(&random, now: now / 1000, to: &buffer)
        buffer.writeStaticString(#"},"route":{"source":"edged","group":"meta","operation":"update","resource":"default/podstatus/pod-"#)
        buffer.writeString(node)
        buffer.writeStaticString(#""},"content":{"Name":"pod-"#)
        buffer.writeString(node)
        buffer.writeStaticString(#"","seq":"#)
        buffer.writeDecimal(Int64(sequence))
        buffer.writeStaticString(#","sent":"#)
        buffer.writeDecimal(now)
        buffer.writeStaticString(#","Status":{"message":""#)
        let tail: StaticString = #"","phase":"Running"},"UID":"00000000-0000-0000-0000-000000000000"}}"#
        let used = buffer.writerIndex - start + tail.utf8CodeUnitCount + 1
        buffer.writeRepeatingByte(0x78, count: max(0, size - used))
        buffer.writeStaticString(tail)
        buffer.writeInteger(0x0a as UInt8)
    }
}
