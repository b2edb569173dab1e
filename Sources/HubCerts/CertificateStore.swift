// The directory with the authority's files: what is read from it, and how it is written.
//
// New files appear whole: they are written and synced beside their place, then renamed. Keys and tokens have mode 0600.

internal import HubPipe
package import HubTLS

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// One directory, made by `hub-certs prepare` or taken over from KubeEdge.
package struct CertificateStore: Sendable {
    package enum File: String, Sendable {
        case authority = "rootCA.crt"
        case authorityKey = "rootCA.key"
        case server = "server.crt"
        case serverKey = "server.key"
        /// The CA that `rotate-ca begin` made, until it signs.
        case nextKey = "rootCA-next.key"
        /// The CA that signed before, until it is dropped.
        case oldKey = "rootCA-old.key"
        /// Each CA's key certified by the one before it, newest first.
        case cross = "rootCA-cross.crt"
        case revoked = "revoked.jsonl"
        case token
        case issued = "issued.jsonl"
        case lock = ".lock"

        var mode: UInt32 {
            switch self {
            case .authority, .server, .cross, .revoked: 0o644
            case .authorityKey, .nextKey, .oldKey, .serverKey, .token, .issued, .lock: 0o600
            }
        }
    }

    package let directory: String

    /// Files that are elsewhere, as in KubeEdge's `/etc/kubeedge/ca` and `/etc/kubeedge/certs`.
    private let places: [File: String]

    package init(directory: String, places: [File: String] = [:]) {
        self.directory = directory
        self.places = places
    }

    package func path(_ file: File) -> String {
        if let place = places[file] { return place }
        // What belongs to the CA is beside it, where hub-wsserve looks for revocations, and where renames are possible.
        let neighbour: File? =
            switch file {
            case .cross, .revoked: .authority
            case .nextKey, .oldKey: .authorityKey
            default: nil
            }
        return "\(neighbour.flatMap { places[$0] }.map(Self.directory(of:)) ?? directory)/\(file.rawValue)"
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    // MARK: Reading

    func exists(_ file: File) -> Bool { unsafe access(path(file), F_OK) == 0 }

    /// The file's content, nil when there is no such file.
    func readIfPresent(_ file: File) throws(CertsError) -> [UInt8]? {
        do throws(PipeError) {
            return try SmallFile.read(path(file))
        } catch {
            if error.errno == ENOENT { return nil }
            throw CertsError(error)
        }
    }

    func read(_ file: File, _ what: String) throws(CertsError) -> [UInt8] {
        guard let content = try readIfPresent(file) else {
            throw CertsError(.missing, "there is no \(what) at \(path(file)); 'hub-certs prepare --dir \(directory)' makes it")
        }
        return content
    }

    /// A TLS context for the HTTPS side: a client certificate is asked for, and if one comes, an authority must have signed it.
    /// - Parameter admitsExpired: it may have expired.
    package func serverContext(admitsExpired: Bool = false) throws(CertsError) -> TLSContext {
        let authorities = try read(.authority, "CA certificate")
        let chain = try read(.server, "server certificate")
        var secret = try read(.serverKey, "server key")
        defer { Secret.cleanse(&secret) }
        return try attempt("cannot use \(path(.server)) and \(path(.serverKey))") { () throws(TLSError) in
            let identity = try TLSIdentity(certificates: chain, privateKey: secret)
            var settings = TLSServerSettings(identity: identity, clientAuthorities: authorities, clientCertificate: .optional)
            settings.admitsExpiredClients = admitsExpired
            return try TLSContext.server(settings)
        }
    }

    func key(_ file: File, _ what: String) throws(CertsError) -> PrivateKey {
        var content = try read(file, what)
        defer { Secret.cleanse(&content) }
        return try parseKey(content, file)
    }

    /// All certificates of a file, of which there is at least one.
    func parseCertificates(_ content: [UInt8], _ file: File) throws(CertsError) -> [Certificate] {
        try attempt("cannot use \(path(file))") { () throws(TLSError) in try Certificate.readAll(pem: content) }
    }

    func parseKey(_ content: [UInt8], _ file: File) throws(CertsError) -> PrivateKey {
        try attempt("cannot use \(path(file))") { () throws(TLSError) in try PrivateKey.read(pem: content) }
    }

    // MARK: Writing

    func write(_ content: [UInt8], to file: File) throws(CertsError) {
        do throws(PipeError) {
            try AtomicFile.write(content, to: path(file), mode: file.mode, isDurable: true, belongsToDirectory: true)
        } catch {
            throw CertsError(error)
        }
    }

    /// Makes the directories, with mode 0700, and those above them.
    func makeDirectories() throws(CertsError) {
        for directory in [directory] + places.values.map(Self.directory(of:)).sorted() { try makeDirectory(directory) }
    }

    private func makeDirectory(_ directory: String) throws(CertsError) {
        var made = directory.hasPrefix("/") ? "/" : ""
        for part in directory.split(separator: "/") {
            made += made.isEmpty || made == "/" ? String(part) : "/\(part)"
            guard unsafe mkdir(made, 0o700) != 0, errno != EEXIST else { continue }
            let failure = errno
            // A read-only directory above an existing one is no obstacle.
            if unsafe access(made, F_OK) == 0 { continue }
            throw CertsError(PipeError(.create, "cannot make the directory \(made)", errno: failure))
        }
    }

    /// Runs `body` while no other process does so for this directory. The lock ends with the process that holds it.
    func withLock<Result>(_ body: () throws(CertsError) -> Result) throws(CertsError) -> Result {
        let descriptor: Descriptor
        do throws(PipeError) {
            descriptor = try Descriptor.output(path(.lock))
        } catch {
            throw CertsError(error)
        }
        AtomicFile.giveToOwnerOfDirectory(descriptor.raw, path(.lock))
        while lockf(descriptor.raw, F_LOCK, 0) != 0 {
            let failure = errno
            guard failure == EINTR else {
                throw CertsError(PipeError(.create, "cannot lock \(path(.lock))", errno: failure))
            }
        }
        return try body()
    }
}
