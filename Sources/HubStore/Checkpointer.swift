// Writes the log back into the database in a thread of its own, so that commits do not wait for it.

internal import CSQLite
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A thread with a connection of its own. It never blocks the connection that commits: its checkpoints are passive.
@safe final class Checkpointer {
    /// What the thread and its owner share.
    ///
    /// `@unchecked Sendable`: the semaphore is made for two threads and lives as long as this; all else is atomic or constant.
    @safe private final class Shared: @unchecked Sendable {
        let path: String
        let semaphore: UnsafeMutablePointer<sem_t>
        let isStopped = Atomic(false)
        let failures = Atomic(0)

        init(_ path: String) {
            self.path = path
            unsafe semaphore = .allocate(capacity: 1)
            unsafe _ = sem_init(semaphore, 0, 0)
        }

        deinit {
            unsafe _ = sem_destroy(semaphore)
            unsafe semaphore.deallocate()
        }
    }

    private let shared: Shared
    private var thread: pthread_t?

    /// - Parameter path: the database.
    init(_ path: String) { shared = Shared(path) }

    deinit {
        shared.isStopped.store(true, ordering: .releasing)
        unsafe _ = sem_post(shared.semaphore)
        if let thread = thread { _ = pthread_join(thread, nil) }
    }

    /// Asks for a checkpoint; returns at once. The thread starts with the first call.
    func wake() {
        if thread == nil { start() }
        unsafe _ = sem_post(shared.semaphore)
    }

    var failures: Int { shared.failures.load(ordering: .relaxed) }

    private func start() {
        var handle = pthread_t()
        let context = unsafe Unmanaged.passRetained(shared).toOpaque()
        let result = unsafe pthread_create(
            &handle, nil,
            { context in
                if let context = unsafe context { unsafe Checkpointer.run(Unmanaged<Shared>.fromOpaque(context).takeRetainedValue()) }
                return nil
            }, context)
        if result == 0 {
            thread = handle
        } else {
            unsafe Unmanaged<Shared>.fromOpaque(context).release()
        }
    }

    private static func run(_ shared: Shared) {
        // Signals are for the thread that waits for them.
        var all = sigset_t()
        unsafe _ = sigfillset(&all)
        unsafe _ = pthread_sigmask(SIG_BLOCK, &all, nil)
        while true {
            while unsafe sem_wait(shared.semaphore) != 0 {}
            while unsafe sem_trywait(shared.semaphore) == 0 {}
            if shared.isStopped.load(ordering: .acquiring) { return }
            do throws(StoreError) {
                let connection = try Connection.open(shared.path, isReadOnly: false)
                _ = try connection.checkpoint()
            } catch {
                shared.failures.wrappingAdd(1, ordering: .relaxed)
            }
        }
    }
}
