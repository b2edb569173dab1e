// hub-certs revoke, and its reverse

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import Logging

struct Revoke: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Refuses the certificates that a node has.",
        discussion: """
            Every certificate of NODE that exists now is refused, whoever issued it: by
            hub-wsserve, and by 'serve' for a renewal. The node can join anew with a token;
            with --ban it cannot. With --serial one certificate is refused, and no other.
            The list is revoked.jsonl in --dir. It does not expire.

            It takes effect when hub-wsserve and 'serve' get SIGHUP; hub-wsserve then closes
            the node's connection with the reason 'certificate revoked'.

            EXAMPLES
              hub-certs revoke edge-7 && kill -HUP "$(cat run/hub.pid)"
              hub-certs revoke edge-7 --ban
              hub-certs revoke edge-7 --serial 4f0c3d…

            \(ExitStatus.help(hubCertsStatuses))
            """)

    @Argument(help: "Name of the node.") var node: String
    @Option(help: ArgumentHelp("Refuse only this certificate; hexadecimal, as in issued.jsonl.", valueName: "number"))
    var serial: String?
    @Flag(help: "The node gets no certificate any more, also not with a token.") var ban = false
    @OptionGroup var directory: DirectoryOption
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        try checkNode(node)
        guard serial == nil || !ban else { throw ValidationError("--serial and --ban exclude each other") }
        guard serial?.allSatisfy({ $0.isHexDigit || $0 == ":" }) ?? true, serial?.isEmpty != true else {
            throw ValidationError("--serial must be hexadecimal digits")
        }
    }

    func run() throws {
        let number = serial?.lowercased().filter { $0 != ":" }
        let store = directory.store
        try orFail("") { () throws(CertsError) in
            try store.revoke(node, serial: number, isBanned: ban, now: wallMicroseconds() / 1_000_000)
        }
        log.logger("hub-certs").info(
            "revoked", metadata: ["node": "\(node)", "serial": "\(number ?? "all")", "ban": "\(ban)"])
    }
}

struct Allow: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Takes back what 'revoke' said about a node.",
        discussion: """
            Certificates of NODE that were refused are good again until they expire, and a
            ban ends. It takes effect when hub-wsserve and 'serve' get SIGHUP.

            EXAMPLES
              hub-certs allow edge-7

            \(ExitStatus.help(hubCertsStatuses))
            """)

    @Argument(help: "Name of the node.") var node: String
    @OptionGroup var directory: DirectoryOption
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws { try checkNode(node) }

    func run() throws {
        let store = directory.store
        var isFound = false
        try orFail("") { () throws(CertsError) in try store.changeRevocations { isFound = $0.remove(node) } }
        guard isFound else { throw Failure(.noInput, "\(node) is not revoked") }
        log.logger("hub-certs").info("allowed", metadata: ["node": "\(node)"])
    }
}

private func checkNode(_ node: String) throws {
    guard NodeName.isValid(Array(node.utf8)) else { throw ValidationError("'\(node)' is not an RFC 1123 subdomain") }
}
