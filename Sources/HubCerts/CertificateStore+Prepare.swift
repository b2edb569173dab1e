// `hub-certs prepare`: makes what is missing, keeps what is there (design: "hub-certs").
//
// The key of a pair is written before its certificate, so that a crash in between leaves a key from which the next run goes on.
// A CA certificate without its key is not repaired: the key is somewhere, or every edge has to join anew.

package import HubTLS

/// What `prepare` is told.
package struct PrepareSettings: Sendable {
    /// Names that the server certificate is to have; empty leaves the choice to what is there, else to this machine alone.
    package var names: Set<SubjectName> = []
    package var serverDays: Int64 = 3650
    /// Seconds after which a token is renewed; it lives twice as long.
    package var tokenRefresh: Int64 = 12 * 3600
    /// Where the server's key is but not the authority's, that one is elsewhere, and nothing is made.
    package var admitsNoAuthority = false

    package init() {}
}

/// What `prepare` did.
package struct PrepareStep: Sendable, Equatable {
    package let file: CertificateStore.File
    /// Why the file was made: `missing`, `names changed`, …
    package let reason: String
}

extension CertificateStore {
    /// Makes what is missing. Several processes may do so at once.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: the files that were made, with the reason.
    package func prepare(_ settings: PrepareSettings, now: Int64) throws(CertsError) -> [PrepareStep] {
        if settings.admitsNoAuthority, !exists(.authorityKey), exists(.serverKey) { return [] }
        try makeDirectories()
        return try withLock { () throws(CertsError) in
            try settle()
            var steps: [PrepareStep] = []
            let authority = try prepareAuthority(now, &steps)
            try prepareServer(authority, settings, now, &steps)
            if let reason = try renewToken(authority, refresh: settings.tokenRefresh, now: now).reason {
                steps.append(PrepareStep(file: .token, reason: reason))
            }
            return steps
        }
    }

    private func prepareAuthority(_ now: Int64, _ steps: inout [PrepareStep]) throws(CertsError) -> Authority {
        let key = try existingKey(.authorityKey)
        if let content = try readIfPresent(.authority) {
            let fitting = try self.key(of: parseCertificates(content, .authority)[0])
            guard key != nil || fitting != nil else {
                let problem = "there is a CA certificate at \(path(.authority)) but no key at \(path(.authorityKey))"
                throw CertsError(.malformed, "\(problem): put the key there, or remove the certificate")
            }
            let authority = try authority()
            guard let end = authority.certificate.notAfter, end > now else {
                throw CertsError(.malformed, "the CA certificate at \(path(.authority)) has expired")
            }
            return authority
        }
        let usedKey = if let key { key } else { try makeKey(.authorityKey, &steps) }
        let authority = try attempt("cannot make a CA") { () throws(TLSError) in try Authority.make(key: usedKey, now: now) }
        try write([authority.certificate], to: .authority)
        steps.append(PrepareStep(file: .authority, reason: "missing"))
        return authority
    }

    private func prepareServer(
        _ authority: Authority, _ settings: PrepareSettings, _ now: Int64, _ steps: inout [PrepareStep]
    ) throws(CertsError) {
        let existing: [Certificate]
        if let content = try readIfPresent(.server) { existing = try parseCertificates(content, .server) } else { existing = [] }
        let key = try existingKey(.serverKey)
        let chain = try crossChain(above: authority.certificate)
        guard let reason = reasonToReissue(existing, key, authority, chain, settings.names, now) else { return }
        let usedKey = if let key { key } else { try makeKey(.serverKey, &steps) }
        try issueServer(authority, key: usedKey, settings, existing: existing.first, now)
        steps.append(PrepareStep(file: .server, reason: reason))
    }

    /// Writes a server certificate with the chain that leads from it to every authority that an edge may trust.
    func issueServer(
        _ authority: Authority, key: PrivateKey, _ settings: PrepareSettings, existing: Certificate?, _ now: Int64
    ) throws(CertsError) {
        var names = settings.names
        if names.isEmpty { names = existing?.names ?? [] }
        if names.isEmpty { names = Self.localNames }
        let certificate = try attempt("cannot make a server certificate") { () throws(TLSError) in
            try authority.serverCertificate(
                names: names.sorted { $0.description < $1.description }, key: key.publicKey, days: settings.serverDays, now: now)
        }
        try write([certificate] + crossChain(above: authority.certificate), to: .server)
    }

    /// - Returns: nil when the certificate can stay.
    private func reasonToReissue(
        _ existing: [Certificate], _ key: PrivateKey?, _ authority: Authority, _ chain: [Certificate], _ names: Set<SubjectName>,
        _ now: Int64
    ) -> String? {
        guard let certificate = existing.first else { return "missing" }
        guard let key, certificate.belongs(to: key) else { return "its key is another" }
        guard let start = certificate.notBefore, let end = certificate.notAfter, end > now else { return "expired" }
        guard end - now > min(Self.renewalMargin, (end - start) / 3) else { return "near its end" }
        do throws(TLSError) {
            try certificate.verify(issuedBy: authority.certificate, purpose: .server, at: now)
        } catch {
            return "not valid under this CA"
        }
        // One that was taken over may have more names than are asked for; one that was made here has exactly those.
        let isOurs = certificate.subject.values(.commonName) == [Authority.serverName]
        let fits = names.isEmpty || (isOurs ? certificate.names == names : certificate.names.isSuperset(of: names))
        guard fits else { return "names changed" }
        // Somebody else's file may hold the CA beside it.
        return !isOurs || existing.dropFirst().map(\.der) == chain.map(\.der) ? nil : "chain changed"
    }

    /// Less than this, in seconds, is near the end of a server certificate.
    private static let renewalMargin: Int64 = 30 * Authority.secondsPerDay

    private static let localNames: Set<SubjectName> = [
        .dns("localhost"), .address([127, 0, 0, 1]), .address([UInt8](repeating: 0, count: 15) + [1]),
    ]

    func makeKey(_ file: File, _ steps: inout [PrepareStep]) throws(CertsError) -> PrivateKey {
        let key = try attempt("cannot make a key") { () throws(TLSError) in try PrivateKey.generate() }
        var text = try attempt("cannot make a key") { () throws(TLSError) in try key.pem }
        defer { Secret.cleanse(&text) }
        try write(text, to: file)
        steps.append(PrepareStep(file: file, reason: "missing"))
        return key
    }

    func write(_ certificates: [Certificate], to file: File) throws(CertsError) {
        try write(try attempt("cannot encode a certificate") { () throws(TLSError) in try Certificate.pem(certificates) }, to: file)
    }
}
