// Limits and use of this process.

internal import HubCommand

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

enum OpenFiles {
    /// Raises the soft limit of open files to the hard one when `needed` asks for it.
    static func allow(_ needed: Int) throws {
        var limit = rlimit()
        #if canImport(Glibc)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        guard unsafe getrlimit(resource, &limit) == 0, limit.rlim_cur < rlim_t(needed) else { return }
        limit.rlim_cur = limit.rlim_max
        guard limit.rlim_max >= rlim_t(needed), unsafe setrlimit(resource, &limit) == 0 else {
            throw Failure(.unavailable, "\(needed) open files are needed, the limit is \(limit.rlim_max) (ulimit -n)")
        }
    }

    /// Processor time of this process so far, user and system.
    static func processorSeconds() -> Double {
        var usage = rusage()
        #if canImport(Glibc)
            let who = __rusage_who_t(RUSAGE_SELF.rawValue)
        #else
            let who = RUSAGE_SELF
        #endif
        guard unsafe getrusage(who, &usage) == 0 else { return 0 }
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        return Double(seconds) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }
}
