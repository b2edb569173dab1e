// What waits to leave one connection (design: "Flow control", rule 3).
// Data frames keep their order. Control frames go before waiting data, but never into the middle of a frame.

package import NIOCore

/// Frames that wait, and frames that were handed to the socket and have not left.
package struct OutboundQueue {
    private struct Frame {
        var bytes: ByteBuffer
        /// Hash of the `msg_id`, 0 when there is none.
        let id: UInt64
    }

    private struct Batch {
        var bytes = 0
        /// How many of `handedIDs` are of this batch.
        var ids = 0
    }

    private var waiting = CircularBuffer<Frame>(initialCapacity: 0)
    private var handed = CircularBuffer<Batch>(initialCapacity: 0)
    private var handedIDs = CircularBuffer<UInt64>(initialCapacity: 0)
    private var ids: Set<UInt64> = []
    private var ping: ByteBuffer?
    private var pong: ByteBuffer?
    private var closeFrame: ByteBuffer?
    /// A part of the first waiting frame has been handed out.
    private var isInFrame = false
    private var isClosing = false

    /// Bytes of data frames that have not left.
    package private(set) var unsent = 0

    package init() {}

    /// Everything has left, also the close frame.
    package var isEmpty: Bool { handed.isEmpty && !hasNext }

    /// There is something to hand out.
    package var hasNext: Bool { !waiting.isEmpty || ping != nil || pong != nil || closeFrame != nil }

    /// Adds a data frame.
    /// - Returns: false when a frame with this id has not left yet, or the connection closes: the frame is not taken.
    package mutating func add(_ frame: ByteBuffer, id: UInt64) -> Bool {
        guard !isClosing else { return false }
        if id != 0, !ids.insert(id).inserted { return false }
        unsent += frame.readableBytes
        waiting.append(Frame(bytes: frame, id: id))
        return true
    }

    /// A ping that still waits is not sent twice.
    package mutating func add(ping frame: ByteBuffer) { if !isClosing { ping = frame } }

    /// Of several pings the last may be answered alone (RFC 6455, 5.5.3), so pongs cannot pile up.
    package mutating func add(pong frame: ByteBuffer) { if !isClosing { pong = frame } }

    /// The close frame is the last to leave.
    /// - Parameter flushing: what waits leaves before it; else only the frame of which a part has left.
    package mutating func close(_ frame: ByteBuffer, flushing: Bool) {
        guard closeFrame == nil else { return }
        isClosing = true
        closeFrame = frame
        ping = nil
        pong = nil
        guard !flushing else { return }
        while waiting.count > (isInFrame ? 1 : 0) {
            let dropped = waiting.removeLast()
            unsent -= dropped.bytes.readableBytes
            ids.remove(dropped.id)
        }
    }

    /// Hands out what leaves next, about `limit` bytes, as one buffer: small frames then share a TLS record and a write.
    /// Call `left()` once it has left.
    package mutating func next(limit: Int) -> ByteBuffer? {
        guard hasNext else { return nil }
        var joined = ByteBuffer()
        var batch = Batch()
        var room = limit
        while true {
            if !isInFrame, let control = takeControl() {
                Self.join(&joined, control)
                continue
            }
            guard room > 0, var frame = waiting.popFirst() else { break }
            let count = frame.bytes.readableBytes
            if count <= room {
                Self.join(&joined, frame.bytes)
                batch.bytes += count
                room -= count
                isInFrame = false
                if frame.id != 0 {
                    batch.ids += 1
                    handedIDs.append(frame.id)
                }
            } else if let piece = frame.bytes.readSlice(length: room) {
                Self.join(&joined, piece)
                batch.bytes += room
                room = 0
                isInFrame = true
                waiting.prepend(frame)
            }
        }
        handed.append(batch)
        return joined
    }

    /// A buffer that stays alone, as most do, is not copied.
    private static func join(_ joined: inout ByteBuffer, _ next: ByteBuffer) {
        if joined.readableBytes == 0 { joined = next } else { joined.writeImmutableBuffer(next) }
    }

    private mutating func takeControl() -> ByteBuffer? {
        if let frame = pong {
            pong = nil
            return frame
        }
        if let frame = ping {
            ping = nil
            return frame
        }
        if let frame = closeFrame, waiting.isEmpty {
            closeFrame = nil
            return frame
        }
        return nil
    }

    /// The oldest batch handed out has left.
    /// - Returns: its data bytes.
    @discardableResult
    package mutating func left() -> Int {
        guard let batch = handed.popFirst() else { return 0 }
        unsent -= batch.bytes
        for _ in 0..<batch.ids {
            if let id = handedIDs.popFirst() { ids.remove(id) }
        }
        return batch.bytes
    }
}
