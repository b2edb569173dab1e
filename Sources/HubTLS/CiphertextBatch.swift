// What one flush of `TLSHandler` makes: few buffers, however many writes went in.

internal import NIOCore

/// Ciphertext on its way to the socket, with the promises that its last byte fulfils.
struct CiphertextBatch {
    private let unit: Int
    private let allocator: ByteBufferAllocator
    private var buffer: ByteBuffer
    private var promises: [EventLoopPromise<Void>] = []

    init(unit: Int, allocator: ByteBufferAllocator) {
        self.unit = unit
        self.allocator = allocator
        buffer = ByteBuffer()
    }

    var isFull: Bool { buffer.readableBytes >= unit }

    /// - Parameter expecting: plaintext bytes of the same write that will follow.
    mutating func append(_ ciphertext: UnsafeRawBufferPointer, expecting more: Int) {
        if buffer.readableBytes == 0 {
            buffer = allocator.buffer(capacity: ciphertext.count + min(more + more / 64, unit))
        }
        unsafe buffer.writeBytes(ciphertext)
    }

    mutating func willComplete(_ promise: EventLoopPromise<Void>?) {
        if let promise { promises.append(promise) }
    }

    mutating func take() -> ByteBuffer {
        let taken = buffer
        buffer = ByteBuffer()
        return taken
    }

    mutating func send(_ context: ChannelHandlerContext) {
        let waiting = promises
        promises = []
        guard buffer.readableBytes > 0 || !waiting.isEmpty else { return }
        let promise: EventLoopPromise<Void>?
        switch waiting.count {
        case 0: promise = nil
        case 1: promise = waiting[0]
        default:
            let joint = context.eventLoop.makePromise(of: Void.self)
            joint.futureResult.whenComplete { result in
                for each in waiting { each.completeWith(result) }
            }
            promise = joint
        }
        context.write(NIOAny(take()), promise: promise)
    }

    mutating func fail(_ error: any Error) {
        let waiting = promises
        promises = []
        for each in waiting { each.fail(error) }
    }
}
