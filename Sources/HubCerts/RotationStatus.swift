// `hub-certs rotate-ca status`: which authority the nodes' certificates are of, by `issued.jsonl`.

internal import HubTLS

package struct RotationStatus: Sendable {
    package struct Row: Sendable, Equatable {
        /// `signing`, `next` or `old`.
        package let role: String
        package let sha256: String
        package let commonName: String
        /// Seconds since 1970.
        package let notAfter: Int64
        /// Nodes whose latest certificate is of this authority, neither expired nor revoked.
        package var nodes: Int
    }

    /// A node whose latest certificate is of an authority that no longer signs.
    package struct Holder: Sendable, Equatable {
        package let node: String
        package let notAfter: Int64
    }

    package let stage: RotationStage
    /// An authority was made by another program, whose signatures are in no record here.
    package let isIncomplete: Bool
    package let rows: [Row]
    /// Sorted by name.
    package let left: [Holder]
}

extension CertificateStore {
    /// - Parameter now: seconds since 1970.
    package func rotationStatus(now: Int64) throws(CertsError) -> RotationStatus {
        let stage = try stage()
        let trusted = try trusted()
        let revocations = try revocations()
        var latest: [String: IssuedRecord] = [:]
        try IssuedLog(self).forEachRecord { latest[$0.node] = $0 }
        var rows: [RotationStatus.Row] = []
        for (number, certificate) in trusted.enumerated() {
            let hash = try attempt("cannot read \(path(.authority))") { () throws(TLSError) in Digest.hex(try certificate.sha256) }
            rows.append(
                RotationStatus.Row(
                    role: number == 0 ? "signing" : stage == .begun ? "next" : "old", sha256: hash,
                    commonName: certificate.subject.values(.commonName).first ?? "", notAfter: certificate.notAfter ?? 0, nodes: 0))
        }
        var left: [RotationStatus.Holder] = []
        for record in latest.values where record.notAfter > now {
            // Without its begin a certificate counts until the second of its making.
            let facts = CertificateFacts(serial: record.serial, notBefore: record.notBefore ?? record.time + 1, notAfter: record.notAfter)
            if revocations.refuses(facts, of: record.node) { continue }
            // Records from before issuers were noted are of the oldest authority, if it is that old.
            let oldest = stage == .switched ? trusted.count - 1 : 0
            let isOlder = record.time < trusted[oldest].notBefore ?? .min
            guard let place = record.issuer.map({ issuer in rows.firstIndex { $0.sha256 == issuer } }) ?? (isOlder ? nil : oldest) else {
                continue
            }
            rows[place].nodes += 1
            if stage == .switched, place > 0 { left.append(RotationStatus.Holder(node: record.node, notAfter: record.notAfter)) }
        }
        let isForeign = trusted.contains { $0.subject.values(.organization) != [Authority.organization] }
        return RotationStatus(stage: stage, isIncomplete: isForeign, rows: rows, left: left.sorted { $0.node < $1.node })
    }
}
