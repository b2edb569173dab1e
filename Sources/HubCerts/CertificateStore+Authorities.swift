// The authorities of a directory: `rootCA.crt` holds those that are trusted, and the first one signs. KubeEdge's programs read only the
// first certificate of such a file, so a directory stays usable for them.
//
// The key of the one that signs is in `rootCA.key`, or for the moment between two renames of `rotate-ca switch` in `rootCA-next.key`:
// whoever looks for it takes the one that belongs to the certificate.

internal import HubPipe
internal import HubTLS
package import HubTrust

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

extension CertificateStore {
    /// The authorities that are trusted, the one that signs first.
    func trusted() throws(CertsError) -> [Certificate] {
        try parseCertificates(try read(.authority, "CA certificate"), .authority)
    }

    /// The authority that signs, with its key.
    package func authority() throws(CertsError) -> Authority {
        let certificate = try trusted()[0]
        var key = try key(of: certificate)
        if key == nil { key = try self.key(.authorityKey, "CA key") }
        guard let key else { throw CertsError(.missing, "there is no CA key at \(path(.authorityKey))") }
        return try attempt("cannot use \(path(.authority)) and \(path(.authorityKey))") { () throws(TLSError) in
            try Authority(certificate: certificate, key: key)
        }
    }

    /// All authorities that hold now.
    package func authorities() throws(CertsError) -> AuthoritySet {
        let signing = try authority()
        let others = Array(try trusted().dropFirst())
        var former: [JoinTokens] = []
        for certificate in others {
            // The next authority has made no tokens yet.
            guard let key = try self.key(of: certificate), try existingKey(.nextKey).map({ certificate.belongs(to: $0) }) != true else {
                continue
            }
            former.append(
                try attempt("cannot use \(path(.oldKey))") { () throws(TLSError) in
                    try JoinTokens(authority: certificate, key: key.block.der)
                })
        }
        return try attempt("cannot use \(path(.authority))") { () throws(TLSError) in
            try AuthoritySet(signing: signing, others: others, formerTokens: former)
        }
    }

    /// The key of `certificate`, wherever it is kept; nil when it is nowhere.
    func key(of certificate: Certificate) throws(CertsError) -> PrivateKey? {
        for file in [File.authorityKey, .nextKey, .oldKey] {
            if let key = try existingKey(file), certificate.belongs(to: key) { return key }
        }
        return nil
    }

    func existingKey(_ file: File) throws(CertsError) -> PrivateKey? {
        guard var content = try readIfPresent(file) else { return nil }
        defer { Secret.cleanse(&content) }
        return try parseKey(content, file)
    }

    /// What a server sends beside its certificate: `authority` certified by the one before it, that one by the one before, and so on.
    func crossChain(above authority: Certificate) throws(CertsError) -> [Certificate] {
        guard let content = try readIfPresent(.cross) else { return [] }
        var left = try parseCertificates(content, .cross)
        var chain: [Certificate] = []
        var subject = authority.subjectName
        while let place = left.firstIndex(where: { $0.subjectName == subject }) {
            let link = left.remove(at: place)
            // One authority of that name with another key is none that this server's certificate leads to.
            guard chain.isEmpty == false || Self.haveOneKey(link, authority) else { continue }
            chain.append(link)
            subject = link.issuerName
        }
        return chain
    }

    private static func haveOneKey(_ left: Certificate, _ right: Certificate) -> Bool {
        guard let first = try? left.publicKey, let second = try? right.publicKey else { return false }
        return first == second
    }

    /// Completes what an interrupted step of `rotate-ca` left: the keys follow the certificates. Only under the lock.
    func settle() throws(CertsError) {
        guard let content = try readIfPresent(.authority) else { return }
        let trusted = try parseCertificates(content, .authority)
        if let next = try existingKey(.nextKey), trusted[0].belongs(to: next) {
            // There is a rootCA.key at every moment, the old one or the new one.
            _ = unsafe unlink(path(.oldKey))
            _ = unsafe link(path(.authorityKey), path(.oldKey))
            guard unsafe rename(path(.nextKey), path(.authorityKey)) == 0 else {
                throw CertsError(PipeError(.create, "cannot replace \(path(.authorityKey))", errno: errno))
            }
        }
        if trusted.count == 1, unsafe unlink(path(.oldKey)) != 0, errno != ENOENT {
            throw CertsError(PipeError(.write, "cannot remove \(path(.oldKey))", errno: errno))
        }
    }

    // MARK: Revocations

    /// The revocations; none without the file.
    package func revocations() throws(CertsError) -> RevocationList {
        let content: [UInt8]
        do throws(PipeError) {
            content = try Descriptor.contents(of: path(.revoked), limit: RevocationList.maxFile)
        } catch {
            if error.isAbsent { return RevocationList() }
            throw CertsError(error)
        }
        do throws(RevocationList.Malformed) {
            return try RevocationList(content)
        } catch {
            throw CertsError(.malformed, "\(path(.revoked)): line \(error.line) is no revocation")
        }
    }

    /// Refuses what `node` has now: what begins before this second, and what the records know to begin later. So what is issued to it next
    /// is valid at once.
    ///
    /// - Parameter serial: refuses one certificate instead.
    package func revoke(_ node: String, serial: String?, isBanned: Bool, now: Int64) throws(CertsError) {
        var until = now - 1
        try IssuedLog(self).forEachRecord { record in
            if record.node == node { until = max(until, record.notBefore ?? record.time) }
        }
        let entry = RevocationList.Entry(node: node, serial: serial, until: until, isBanned: isBanned)
        try changeRevocations { $0.add(entry) }
    }

    /// Changes the revocations; for the commands that do, one after the other.
    package func changeRevocations(_ change: (inout RevocationList) -> Void) throws(CertsError) {
        try withLock { () throws(CertsError) in
            var list = try revocations()
            change(&list)
            let text = list.text
            guard text.count <= RevocationList.maxFile else {
                throw CertsError(.refused, "\(path(.revoked)) would be longer than \(RevocationList.maxFile) bytes")
            }
            try write(text, to: .revoked)
        }
    }
}
