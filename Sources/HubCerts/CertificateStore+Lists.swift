// `hub-certs crl`: what `revoked.jsonl` and `issued.jsonl` say together, as certificate revocation lists for others.

internal import HubTLS

/// The list of one authority.
package struct AuthorityList: Sendable {
    package let commonName: String
    /// In PEM; nil when the authority may not sign lists.
    package let pem: [UInt8]?
    package let count: Int
}

extension CertificateStore {
    /// The lists of all authorities that are trusted and whose key is here. A list is valid as long as its authority: one that ends sooner
    /// would shut everybody out when nobody renews it.
    ///
    /// - Parameter now: seconds since 1970.
    package func revocationLists(now: Int64) throws(CertsError) -> [AuthorityList] {
        let revocations = try revocations()
        let trusted = try trusted()
        var refused: [String?: [(serial: String, time: Int64)]] = [:]
        try IssuedLog(self).forEachRecord { record in
            let facts = CertificateFacts(serial: record.serial, notBefore: record.notBefore ?? record.time, notAfter: record.notAfter)
            guard record.notAfter > now, revocations.refuses(facts, of: record.node) else { return }
            refused[record.issuer, default: []].append((record.serial, revocations.bound(for: record.node) ?? now))
        }
        var lists: [AuthorityList] = []
        for (place, certificate) in trusted.enumerated() {
            guard let key = try key(of: certificate) else { continue }
            let name = certificate.subject.values(.commonName).first ?? ""
            guard certificate.maySignLists else {
                lists.append(AuthorityList(commonName: name, pem: nil, count: 0))
                continue
            }
            let made = try attempt("cannot make a CRL") { () throws(TLSError) in
                var list = RevokedCertificates(thisUpdate: now, nextUpdate: certificate.notAfter ?? now)
                list.serials = refused[Digest.hex(try certificate.sha256)] ?? []
                // Records from before issuers were noted are of the oldest authority.
                if place == trusted.count - 1 { list.serials += refused[nil] ?? [] }
                let block = PEMBlock(label: "X509 CRL", der: try list.signed(by: certificate, key))
                return (text: try block.text, count: list.serials.count)
            }
            lists.append(AuthorityList(commonName: name, pem: made.text, count: made.count))
        }
        return lists
    }
}
