// `hub-certs rotate-ca`: another authority takes the place of the old one while edges stay connected.
//
// What an EdgeCore does (v1.23.1, edge/pkg/edgehub/certificate): when it joins it fetches /ca.crt once, checks SHA-256 of the answer against
// the beginning of its token, and stores the answer as one PEM block; it verifies both ports of the hub against that file for ever and
// never fetches /ca.crt again. When 70 to 90 % of its certificate's life have passed, it asks with that certificate for another one, which it
// stores without looking at its issuer, and connects anew. So nodes move to the new authority by themselves, as their certificates
// become due, but they go on trusting the old authority alone until they join anew or somebody replaces their file, where several PEM
// blocks are understood. What follows from it:
//
// - `/ca.crt` is one certificate, that of the authority that signs: a bundle would not parse at the edge. A token begins with its hash,
//   so tokens that were printed before `switch` do not let an EdgeCore join after it.
// - The server's certificate comes with the new authority's key certified by the old one. Who trusts only the old authority verifies it through
//   that certificate, who trusts only the new one does without. It is kept after `finish`, for the edges that will never know
//   the new authority; `finish --drop-cross` ends that, for an old key that others have.
//
// The steps and their commit points, each one rename of `rootCA.crt`, so that a crash leaves the state before or after it:
//
//     begin    [old]       becomes [old, next]    both are trusted, the old one signs
//     switch   [old, next] becomes [next, old]    the next one signs; server.crt is written before, so that it fits both
//     finish   [next, old] becomes [next]         certificates of the old one are refused
//     abort    [old, next] becomes [old]
//
// Between two steps hub-wsserve and `hub-certs serve` have to read the files again (SIGHUP).

internal import HubMessage
internal import HubPipe
internal import HubTLS

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// How far a change of the authority is.
package enum RotationStage: String, Sendable {
    /// One authority.
    case none
    /// The next one is trusted, and does not sign yet.
    case begun
    /// The new one signs, the old one is trusted.
    case switched
}

extension CertificateStore {
    /// Makes the next authority, and has it trusted beside the one that signs.
    ///
    /// - Parameter isForced: also if edges cannot accept the certificate that links the two.
    package func beginRotation(isForced: Bool, now: Int64) throws(CertsError) {
        try withLock { () throws(CertsError) in
            try settle()
            let old = try authority()
            guard try stage() == .none else { throw CertsError(.refused, "a rotation is under way; 'rotate-ca status' shows it") }
            guard isForced || old.certificate.pathLength != 0 else {
                let reason = "the CA may not certify another one (path length 0), so edges that trust it alone will not accept the server"
                throw CertsError(.refused, "\(reason) after the switch; --force begins anyway")
            }
            var steps: [PrepareStep] = []
            // A key without its certificate is from a run that was interrupted here.
            let key = if let left = try existingKey(.nextKey) { left } else { try makeKey(.nextKey, &steps) }
            let next = try attempt("cannot make a CA") { () throws(TLSError) in
                try Authority.make(key: key, name: "hub CA \(Timestamp.rfc3339(now))", now: now)
            }
            let link = try attempt("cannot make a CA") { () throws(TLSError) in
                try old.crossCertificate(for: next.certificate, now: now)
            }
            try write([link] + crossChain(above: old.certificate), to: .cross)
            try write([old.certificate, next.certificate], to: .authority)
        }
    }

    /// Has the next authority sign from now on: nodes, server certificate, tokens.
    package func switchAuthority(_ settings: PrepareSettings, now: Int64) throws(CertsError) {
        try withLock { () throws(CertsError) in
            try settle()
            let trusted = try trusted()
            guard let key = try existingKey(.nextKey), let next = trusted.dropFirst().first(where: { $0.belongs(to: key) }) else {
                throw CertsError(.refused, "there is no next CA; 'rotate-ca begin' makes it")
            }
            let authority = try attempt("cannot use the next CA") { () throws(TLSError) in
                try Authority(certificate: next, key: key)
            }
            var steps: [PrepareStep] = []
            let serverKey = if let key = try existingKey(.serverKey) { key } else { try makeKey(.serverKey, &steps) }
            let existing: Certificate? =
                if let content = try readIfPresent(.server) { try parseCertificates(content, .server).first } else { nil }
            try issueServer(authority, key: serverKey, settings, existing: existing, now)
            try write([next] + trusted.filter { $0 !== next }, to: .authority)
            try settle()
            _ = try renewToken(authority, refresh: settings.tokenRefresh, now: now)
        }
    }

    /// Gives the next authority up; it has signed nothing.
    package func abortRotation() throws(CertsError) {
        try withLock { () throws(CertsError) in
            try settle()
            guard try stage() == .begun else { throw CertsError(.refused, "there is no next CA, or it signs already") }
            try write([try trusted()[0]], to: .authority)
            try remove(.nextKey)
        }
    }

    /// Trusts the signing authority alone.
    ///
    /// - Parameters:
    ///   - isForced: also if nodes hold certificates of the old one that are good.
    ///   - dropsCross: the server no longer shows that the old one certified the new one.
    /// - Returns: how many nodes lose their certificate.
    package func finishRotation(
        isForced: Bool, dropsCross: Bool, _ settings: PrepareSettings, now: Int64
    ) throws(CertsError) -> Int {
        try withLock { () throws(CertsError) in
            try settle()
            guard try stage() == .switched else { throw CertsError(.refused, "there is no old CA to drop") }
            let left = try rotationStatus(now: now).left.count
            guard isForced || left == 0 else {
                throw CertsError(.refused, "\(left) nodes hold a certificate of the old CA that is still good; --force drops it anyway")
            }
            let authority = try authority()
            if dropsCross {
                try remove(.cross)
                guard let key = try existingKey(.serverKey), let content = try readIfPresent(.server) else {
                    throw CertsError(.missing, "there is no server certificate; 'hub-certs prepare' makes it")
                }
                let existing = try parseCertificates(content, .server)[0]
                try issueServer(authority, key: key, settings, existing: existing, now)
            }
            try write([authority.certificate], to: .authority)
            try settle()
            return left
        }
    }

    func stage() throws(CertsError) -> RotationStage {
        let trusted = try trusted()
        guard trusted.count > 1 else { return .none }
        guard let key = try existingKey(.nextKey), trusted[0].belongs(to: key) == false else { return .switched }
        return trusted.contains { $0.belongs(to: key) } ? .begun : .switched
    }

    private func remove(_ file: File) throws(CertsError) {
        guard unsafe unlink(path(file)) != 0, errno != ENOENT else { return }
        throw CertsError(PipeError(.write, "cannot remove \(path(file))", errno: errno))
    }
}
