// Frames and messages from the hub, and the answers to them.

internal import HubMessage
internal import HubPipe
internal import NIOCore

extension EdgeHandler {
    /// Takes all complete frames at the start of `buffer`.
    func takeFrames(_ buffer: inout ByteBuffer) {
        var missing = 0
        let taken = unsafe buffer.withUnsafeReadableBytes { bytes in
            var at = 0
            // A closing edge still reads, for the close frame of the hub.
            while phase == .open || phase == .closing {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[at...])
                let head: FrameHead?
                do throws(FrameHead.Violation) {
                    head = try unsafe FrameHead.parse(rest, limit: owner.settings.maxMessage)
                } catch {
                    violated("frame: \(error)", closeCode: error == .tooLarge ? 1009 : 1002)
                    return bytes.count
                }
                guard let head else { break }
                let total = head.headLength + head.payloadLength
                guard rest.count >= total else {
                    missing = total - rest.count
                    break
                }
                unsafe frame(head, UnsafeRawBufferPointer(rebasing: rest[head.headLength..<total]))
                at += total
            }
            return at
        }
        buffer.moveReaderIndex(forwardBy: taken)
        // One growth for a large frame instead of many.
        if missing > 256 << 10 { buffer.reserveCapacity(minimumWritableBytes: missing) }
    }

    private func frame(_ head: FrameHead, _ payload: UnsafeRawBufferPointer) {
        switch head.opcode {
        case .text, .binary:
            guard fragments == nil else { return violated("frame: a new message inside a fragmented one", closeCode: 1002) }
            if head.isFinal { return unsafe message(payload) }
            var first = ByteBuffer()
            unsafe first.writeBytes(payload)
            fragments = first
        case .continuation:
            guard var whole = fragments else { return violated("frame: a continuation without a start", closeCode: 1002) }
            fragments = nil
            guard whole.readableBytes + payload.count <= owner.settings.maxMessage else {
                return violated("frame: too large", closeCode: 1009)
            }
            unsafe whole.writeBytes(payload)
            if head.isFinal {
                unsafe whole.withUnsafeReadableBytes { unsafe message($0) }
            } else {
                fragments = whole
            }
        case .ping:
            owner.figures.pings += 1
            guard !isSilent, phase == .open else { return }
            ClientFrame.append(.pong, mask: owner.mask(), to: &outbox, expecting: payload.count) { _ = unsafe $0.writeBytes(payload) }
        case .pong: break
        case .close: unsafe closed(payload)
        }
    }

    /// The hub says good-bye, or answers ours.
    private func closed(_ payload: UnsafeRawBufferPointer) {
        guard phase == .open else {
            context?.close(mode: .all, promise: nil)
            return
        }
        var code = 1005
        var reason = ""
        if payload.count >= 2 {
            code = unsafe Int(payload[0]) << 8 | Int(payload[1])
            reason = unsafe String(decoding: payload[2...], as: UTF8.self)
        }
        sendClose(code == 1005 ? 1000 : UInt16(truncatingIfNeeded: code))
        if let context { flush(context) }
        end("closed-\(code)", "the hub closed with \(code) \(reason)")
    }

    private func violated(_ detail: String, closeCode: UInt16) {
        sendClose(closeCode)
        if let context { flush(context) }
        end("protocol", detail)
    }

    // MARK: Messages

    private func message(_ payload: UnsafeRawBufferPointer) {
        guard phase == .open else { return }
        var count = payload.count
        while count > 0, unsafe payload[count - 1] == 0x0a { count -= 1 }
        let now = wallMicroseconds()
        owner.arrived(bytes: payload.count)
        let line: Line
        do throws(MessageError) {
            line = try unsafe Line.scan(UnsafeRawBufferPointer(rebasing: payload[..<count]))
        } catch {
            return owner.malformed(node, error.description)
        }
        if line.isInner { owner.malformed(node, "an envelope on the wire") }
        owner.count(line, on: node, now: now)
        answer(line, now: now)
    }

    private func answer(_ line: Line, now: Int64) {
        guard EdgeMessage.isAcknowledged(line) else { return }
        let settings = owner.settings
        if isSilent || neverAcknowledges || matches(settings.unacknowledged, line) {
            owner.figures.withheld += 1
            return
        }
        let isRefusal = refusesAll || matches(settings.refused, line)
        if isRefusal { owner.figures.refusals += 1 } else { owner.figures.acks += 1 }
        guard settings.ackDelay > .zero else {
            write(line, isRefusal, now, to: &outbox)
            return
        }
        let before = delayedFrames.writerIndex
        write(line, isRefusal, now, to: &delayedFrames)
        delayed.append((.now() + settings.ackDelay, delayedFrames.writerIndex - before))
        scheduleDelayed()
    }

    private func write(_ line: Line, _ isRefusal: Bool, _ now: Int64, to buffer: inout ByteBuffer) {
        ClientFrame.append(.text, mask: owner.mask(), to: &buffer, expecting: 300) { payload in
            EdgeMessage.writeAnswer(line, isRefusal: isRefusal, &owner.random, now: now / 1000, to: &payload)
        }
    }

    private func matches(_ victims: Victims, _ line: Line) -> Bool {
        guard case .key(let key) = victims else { return false }
        return unsafe line.raw(line.index.content.uid).elementsEqual(key) || line.raw(line.index.route.resource).elementsEqual(key)
    }

    // MARK: Delayed acknowledgements

    private func scheduleDelayed() {
        guard !isDelayScheduled, let first = delayed.first, let context else { return }
        isDelayScheduled = true
        context.eventLoop.assumeIsolated().scheduleTask(deadline: first.due) { [weak self] in self?.sendDelayed() }
    }

    private func sendDelayed() {
        isDelayScheduled = false
        guard let context, phase == .open else { return }
        let now = NIODeadline.now()
        while let first = delayed.first, first.due <= now, var frame = delayedFrames.readSlice(length: first.count) {
            delayed.removeFirst()
            outbox.writeBuffer(&frame)
        }
        if delayedFrames.readableBytes == 0 { delayedFrames.clear() } else { delayedFrames.discardReadBytes() }
        flush(context)
        scheduleDelayed()
        resumeReading()
    }
}
