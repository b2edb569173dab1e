// `issued.jsonl`: one JSON object for every signature, on the disk before the certificate leaves. It is also what is known afterwards: which
// nodes exist, which one-time tokens are spent, whose certificates are still of the old CA. It grows by about 400 bytes per signature.

internal import HubMessage
internal import HubPipe

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// One signature.
package struct IssuedRecord: Sendable, Equatable {
    package enum Credential: String, Sendable {
        case token
        case certificate
    }

    /// Seconds since 1970.
    package let time: Int64
    package let node: String
    /// Hexadecimal.
    package let serial: String
    /// SHA-256 of the certificate in DER, hexadecimal.
    package let sha256: String
    /// Seconds since 1970; nil in records from before it was noted.
    package let notBefore: Int64?
    package let notAfter: Int64
    package let remote: String
    package let credential: Credential
    /// SHA-256 of the authority's certificate, hexadecimal: the beginning of its join tokens. Nil in records from before it was noted.
    package let issuer: String?
    /// The one-time token that was spent for it.
    package let token: SpentToken?

    package struct SpentToken: Sendable, Equatable {
        package let id: String
        /// Seconds since 1970.
        package let expiry: Int64

        package init(id: String, expiry: Int64) {
            self.id = id
            self.expiry = expiry
        }
    }

    package init(
        time: Int64, node: String, serial: String, sha256: String, notAfter: Int64, remote: String, credential: Credential,
        notBefore: Int64? = nil, issuer: String? = nil, token: SpentToken? = nil
    ) {
        self.notBefore = notBefore
        self.time = time
        self.node = node
        self.serial = serial
        self.sha256 = sha256
        self.notAfter = notAfter
        self.remote = remote
        self.credential = credential
        self.issuer = issuer
        self.token = token
    }

    /// - Returns: nil when `line` is no record.
    package init?(_ line: some Collection<UInt8>) {
        guard let object = FlatJSON(line) else { return nil }
        guard let node = object.text("node") else { return nil }
        self.node = node
        time = object.text("time").flatMap(Timestamp.parse) ?? 0
        serial = object.text("serial") ?? ""
        sha256 = object.text("sha256") ?? ""
        notBefore = object.text("not_before").flatMap(Timestamp.parse)
        notAfter = object.text("not_after").flatMap(Timestamp.parse) ?? .max
        remote = object.text("remote") ?? ""
        credential = object.text("by").flatMap(Credential.init) ?? .token
        issuer = object.text("issuer")
        token = object.text("token").map { SpentToken(id: $0, expiry: object.text("token_expires").flatMap(Timestamp.parse) ?? .max) }
    }

    /// The record as a line, with its newline.
    package var line: [UInt8] {
        var members = [
            ("time", Timestamp.rfc3339(time)), ("node", node), ("serial", serial), ("sha256", sha256),
            ("not_after", Timestamp.rfc3339(notAfter)), ("remote", remote), ("by", credential.rawValue),
        ]
        if let notBefore { members.append(("not_before", Timestamp.rfc3339(notBefore))) }
        if let issuer { members.append(("issuer", issuer)) }
        if let token { members += [("token", token.id), ("token_expires", Timestamp.rfc3339(token.expiry))] }
        var line: [UInt8] = [0x7b]
        for (name, value) in members {
            if line.count > 1 { line.append(0x2c) }
            JSONText.appendString(name.utf8, to: &line)
            line.append(0x3a)
            JSONText.appendString(value.utf8, to: &line)
        }
        line.append(contentsOf: [0x7d, 0x0a])
        return line
    }
}

/// The file.
package struct IssuedLog: Sendable {
    private let path: String

    package init(_ store: CertificateStore) { path = store.path(.issued) }

    /// Appends whole lines and waits until they are on the disk.
    ///
    /// - Parameter mayBeTorn: an earlier append failed, so that half a line may stand at the end of the file; it is ended first.
    package func append(_ lines: [UInt8], mayBeTorn: Bool = false) throws(CertsError) {
        do throws(PipeError) {
            let descriptor = try Descriptor.output(path)
            var left = lines[...]
            if mayBeTorn, try isTorn() { left.insert(0x0a, at: left.startIndex) }
            while !left.isEmpty {
                guard let count = RawDescriptor.writeSome(descriptor.raw, left) else {
                    throw PipeError(.write, "cannot write \(path)", errno: errno)
                }
                left = left.dropFirst(count)
            }
            guard fsync(descriptor.raw) == 0 else { throw PipeError(.write, "cannot sync \(path)", errno: errno) }
        } catch {
            throw CertsError(error)
        }
    }

    private func isTorn() throws(PipeError) -> Bool {
        let descriptor = try Descriptor.input(path)
        var last: UInt8 = 0x0a
        _ = unsafe pread(descriptor.raw, &last, 1, max(0, lseek(descriptor.raw, 0, SEEK_END) - 1))
        return last != 0x0a
    }

    /// Completes a last line without its end, so that the next record stands on a line of its own. For the one that appends, before it
    /// begins: at another time such a line is one that is being written.
    package func endLastLine() throws(CertsError) {
        guard unsafe access(path, F_OK) == 0 || errno != ENOENT else { return }
        let mustEnd: Bool
        do throws(PipeError) { mustEnd = try isTorn() } catch { throw CertsError(error) }
        if mustEnd { try append([0x0a]) }
    }

    /// Calls `body` with each record, in order. Lines that are no records are skipped, and so is a last line without its end.
    package func forEachRecord(_ body: (IssuedRecord) -> Void) throws(CertsError) {
        guard unsafe access(path, F_OK) == 0 || errno != ENOENT else { return }
        let descriptor = try open()
        var pending: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe part.withUnsafeMutableBytes { unsafe read(descriptor.raw, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw CertsError(PipeError(.read, "cannot read \(path)", errno: errno))
            }
            if count == 0 { break }
            pending.append(contentsOf: part[..<count])
            while let end = pending.firstIndex(of: 0x0a) {
                Self.visit(pending[..<end], body)
                pending.removeFirst(end + 1)
            }
            // No record is that long.
            if pending.count > part.count { pending.removeAll() }
        }
    }

    private func open() throws(CertsError) -> Descriptor {
        do throws(PipeError) {
            return try Descriptor.input(path)
        } catch {
            throw CertsError(error)
        }
    }

    private static func visit(_ line: ArraySlice<UInt8>, _ body: (IssuedRecord) -> Void) {
        if let record = IssuedRecord(line) { body(record) }
    }
}
