// hub-certs prepare

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import HubTLS
internal import Logging

struct Prepare: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes CA, server certificate and join token, as far as they are missing.",
        discussion: """
            The directory is made with mode 0700, keys and token with mode 0600. What is
            there stays, so this can be run before every start, also by several programs at
            once. The server certificate alone is made anew: when it lacks a name that is
            asked for, when it has a name that is no longer asked for, near its end, and when
            the CA did not issue it. Without --advertise and --dns it keeps its names; the
            first one is then for this machine alone.

            A CA certificate without its key is an error: edges know that CA.

            EXAMPLES
              hub-certs prepare --dir /etc/hub --advertise 192.0.2.7 --advertise 2001:db8::7
              hub-certs prepare --dir /etc/hub --dns hub.example.com
              hub-certs prepare --dir /etc/hub --config /etc/kubeedge/config/cloudcore.yaml

            \(ExitStatus.help([.success, .usage, .noInput, .internalFault, .cannotCreate, .inputOutput, .noPermission, .configuration]))
            """)

    @OptionGroup var directory: DirectoryOption
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("IP addresses under which edges reach the hub; may be repeated.", valueName: "address"))
    var advertise: [String] = Environment.list("advertise")
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("DNS names under which edges reach the hub; may be repeated.", valueName: "name"))
    var dns: [String] = Environment.list("dns")
    @Option(help: ArgumentHelp("Validity of a new server certificate.", valueName: "days"))
    var serverDays: Int64 = Environment.option("server-days", 3650)
    @Flag(help: "Make nothing where the server's key is but not the CA's: that one is elsewhere, and so is 'serve'.")
    var authorityElsewhere = false
    @OptionGroup var token: TokenOption
    @OptionGroup(title: "Log") var log: LogOptions

    func validate() throws {
        guard (1...36_400).contains(serverDays) else { throw ValidationError("--server-days must lie between 1 and 36400") }
    }

    func run() throws {
        let logger = log.logger("hub-certs")
        var settings = PrepareSettings()
        settings.names = try names()
        settings.serverDays = serverDays
        settings.tokenRefresh = token.refresh
        settings.admitsNoAuthority = authorityElsewhere
        let store = directory.store
        let steps = try orFail("") { () throws(CertsError) in try store.prepare(settings, now: wallMicroseconds() / 1_000_000) }
        for step in steps {
            logger.info("made", metadata: ["file": "\(store.path(step.file))", "reason": "\(step.reason)"])
        }
    }

    private func names() throws -> Set<SubjectName> {
        var names: Set<SubjectName> = []
        for text in advertise {
            guard let name = SubjectName.address(parsing: text) else {
                throw Failure(.usage, "--advertise: '\(text)' is not an IP address")
            }
            names.insert(name)
        }
        for text in dns {
            let name = text.lowercased()
            let host = name.hasPrefix("*.") ? String(name.dropFirst(2)) : name
            guard NodeName.isValid(Array(host.utf8)), SubjectName.address(parsing: host) == nil else {
                throw Failure(.usage, "--dns: '\(text)' is not a DNS name")
            }
            names.insert(.dns(name))
        }
        return names
    }
}
