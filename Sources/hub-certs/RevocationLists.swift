// hub-certs crl

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubPipe
internal import Logging

struct RevocationLists: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crl",
        abstract: "Prints what is revoked as X.509 CRLs, for other programs.",
        discussion: """
            One PEM block for each CA that is trusted. A CRL names serial numbers, so it
            holds the revoked certificates that issued.jsonl knows; what a CloudCore issued
            is refused by the hub and missing here. It is valid as long as its CA. The CA
            that a CloudCore made may not sign CRLs and is left out, with a warning. The
            hub itself does not need it.

            EXAMPLES
              hub-certs crl --dir /etc/hub > crl.pem
              openssl verify -crl_check -CAfile rootCA.crt -CRLfile crl.pem edge.crt

            \(ExitStatus.help(hubCertsStatuses))
            """)

    @OptionGroup var directory: DirectoryOption
    @OptionGroup(title: "Log") var log: LogOptions

    func run() throws {
        let logger = log.logger("hub-certs")
        let store = directory.store
        let lists = try orFail("") { () throws(CertsError) in try store.revocationLists(now: wallMicroseconds() / 1_000_000) }
        let output = try LineWriter.standardOutput()
        for list in lists {
            if let pem = list.pem {
                output.buffer.append(contentsOf: pem)
            } else {
                logger.warning("no_crl", metadata: ["ca": "\(list.commonName)", "reason": "its key usage lacks cRLSign"])
            }
        }
        try output.flush()
    }
}
