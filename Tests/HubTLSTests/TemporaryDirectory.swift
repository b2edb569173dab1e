// A place for the files of one test.

internal import HubPipe

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A directory that goes away with its owner.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/hub-certs-test-XXXXXX".utf8CString)
        _ = unsafe mkdtemp(&template)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in [
            "rootCA.crt", "rootCA.key", "rootCA-next.key", "rootCA-old.key", "rootCA-cross.crt", "server.crt", "server.key", "token",
            "issued.jsonl",
            "revoked.jsonl", ".lock",
        ] { remove(name) }
        _ = unsafe rmdir("\(path)/d")
        _ = unsafe rmdir(path)
    }

    func remove(_ name: String) { _ = unsafe unlink("\(path)/d/\(name)") }

    func write(_ text: [UInt8], to name: String) throws { try AtomicFile.write(text, to: "\(path)/d/\(name)", mode: 0o600) }

    func read(_ name: String) throws -> [UInt8] { try SmallFile.read("\(path)/d/\(name)") }

    func exists(_ name: String) -> Bool { unsafe access("\(path)/d/\(name)", F_OK) == 0 }

    func move(_ name: String, to other: String) { _ = unsafe rename("\(path)/d/\(name)", "\(path)/d/\(other)") }

    func mode(_ name: String) -> UInt32 {
        var status = stat()
        _ = unsafe stat("\(path)/d/\(name)", &status)
        return status.st_mode & 0o777
    }
}
