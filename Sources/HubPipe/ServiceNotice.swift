// Telling whoever started the program that it is ready, reads its files again, or ends: the protocol of sd_notify(3), and the newline on a
// descriptor that s6 and others read.

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// The places that hear it: none, one, or both. Used by one thread.
package final class ServiceNotice {
    /// Owned.
    private let socket: Int32?
    private var descriptor: Int32?
    private let onFailure: (String) -> Void
    private var isReady = false
    private var isStopping = false

    /// - Parameter socket: as NOTIFY_SOCKET names it. It is connected to now, with the privileges of the start.
    /// - Parameter descriptor: is taken over.
    /// - Parameter onFailure: what becomes of a notice that could not be given; nothing else does, since the program itself is in order.
    /// - Throws: `.create` when `descriptor` is not open for writing.
    package init(socket path: String?, descriptor: Int32?, onFailure: @escaping (String) -> Void) throws(PipeError) {
        self.descriptor = descriptor
        self.onFailure = onFailure
        if let path {
            let raw = unsafe CHub_notify_open(path)
            if raw < 0 { onFailure("cannot reach \(path): \(systemText(CHub_errno()))") }
            socket = raw < 0 ? nil : raw
        } else {
            socket = nil
        }
        if let descriptor, CHub_adopt_output(descriptor) != 0 {
            throw PipeError(.create, "cannot write to descriptor \(descriptor)", errno: CHub_errno())
        }
    }

    deinit {
        if let socket { _ = close(socket) }
    }

    /// Inputs and outputs are open, files are read, the port listens.
    package func ready() {
        guard !isReady else { return }
        isReady = true
        send("READY=1")
        guard let descriptor else { return }
        if RawDescriptor.writeSome(descriptor, [0x0a]) == nil {
            onFailure("cannot write to descriptor \(descriptor): \(systemText(CHub_errno()))")
        }
        _ = close(descriptor)
        self.descriptor = nil
    }

    package func stopping() {
        guard !isStopping else { return }
        isStopping = true
        send("STOPPING=1")
    }

    /// Around what SIGHUP brings.
    package func reloading(_ body: () -> Void) {
        send("RELOADING=1\nMONOTONIC_USEC=\(monotonicNanoseconds() / 1000)")
        body()
        send("READY=1")
    }

    /// Sends `text` as it is.
    package func send(_ text: String) {
        guard let socket else { return }
        let bytes = Array(text.utf8CString.dropLast())
        let result = unsafe bytes.withUnsafeBufferPointer { unsafe CHub_notify_send(socket, $0.baseAddress, $0.count) }
        if result != 0 { onFailure("cannot send \(text.split(separator: "\n").first ?? ""): \(systemText(CHub_errno()))") }
    }

    /// Waits until all that was sent has been taken.
    package func barrier(milliseconds: Int32) {
        guard let socket, CHub_notify_barrier(socket, milliseconds) != 0 else { return }
        onFailure("the service manager has not taken it: \(systemText(CHub_errno()))")
    }
}
