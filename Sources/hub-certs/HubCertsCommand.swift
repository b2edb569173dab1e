// hub-certs: the certificate authority of the hub.

internal import ArgumentParser
internal import HubCerts
internal import HubCommand

@main
enum Main {
    static func main() { runProgram(HubCertsCommand.self, readsConfig: true) }
}

struct HubCertsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-certs",
        abstract: "The certificate authority: prepares CA, server certificate and token, and signs the certificates of edge nodes.",
        discussion: """
            Everything is kept in one directory: rootCA.crt, rootCA.key, server.crt,
            server.key, token, issued.jsonl, revoked.jsonl. Files of a KubeEdge CloudCore
            with these names are taken over as they are. Nobody else needs to read
            rootCA.key. What a command changes takes effect when hub-wsserve and 'serve'
            get SIGHUP.

            EXAMPLES
              hub-certs prepare --dir /etc/hub --advertise 192.0.2.7 --dns hub.example.com
              hub-certs serve --dir /etc/hub
              hub-certs token --dir /etc/hub
              hub-certs token --node edge-7 --ttl 1h --once
              hub-certs revoke edge-7
              hub-certs rotate-ca status

            \(ExitStatus.help(hubCertsStatuses))
            """,
        version: hubVersion,
        subcommands: [Prepare.self, Token.self, Serve.self, Revoke.self, Allow.self, RevocationLists.self, RotateCA.self])
}

let hubCertsStatuses: [ExitStatus] = [
    .success, .usage, .noInput, .internalFault, .cannotCreate, .inputOutput, .temporary, .noPermission, .configuration,
]

/// Where the authority's files are.
struct DirectoryOption: ParsableArguments {
    @Option(help: ArgumentHelp("Directory of the authority's files.", valueName: "directory"))
    var dir: String = Environment.option("dir", "/etc/hub")
    @Option(
        help: ArgumentHelp(
            "The CA certificate. Beside it are revoked.jsonl and what 'rotate-ca' adds. (default: rootCA.crt in --dir)", valueName: "file"))
    var ca: String?
    @Option(
        help: ArgumentHelp("Its key. Beside it are the other keys of 'rotate-ca'. (default: rootCA.key in --dir)", valueName: "file"))
    var caKey: String?
    @Option(help: ArgumentHelp("The server certificate. (default: server.crt in --dir)", valueName: "file"))
    var cert: String?
    @Option(help: ArgumentHelp("Its key. (default: server.key in --dir)", valueName: "file"))
    var key: String?
    @OptionGroup var config: ConfigOption

    var store: CertificateStore {
        var places: [CertificateStore.File: String] = [:]
        places[.authority] = ca ?? Environment.optional("ca", String.self)
        places[.authorityKey] = caKey ?? Environment.optional("ca-key", String.self)
        places[.server] = cert ?? Environment.optional("cert", String.self)
        places[.serverKey] = key ?? Environment.optional("key", String.self)
        return CertificateStore(directory: dir, places: places)
    }

    func validate() throws {
        guard !dir.isEmpty else { throw ValidationError("--dir must not be empty") }
    }
}

/// How often the join token is renewed.
struct TokenOption: ParsableArguments {
    @Option(help: ArgumentHelp("Age at which the join token is renewed; it lives twice as long.", valueName: "hours"))
    var tokenRefresh: Double = Environment.option("token-refresh", 12)

    /// Seconds.
    var refresh: Int64 { Int64(tokenRefresh * 3600) }

    func validate() throws {
        guard tokenRefresh * 3600 >= 1, tokenRefresh <= 24 * 365 * 10 else {
            throw ValidationError("--token-refresh must lie between 1 second and 10 years, in hours")
        }
    }
}

/// Runs `body`; its error becomes a line and a status.
/// - Parameter what: what was attempted; empty when the error says it.
func orFail<Result>(_ what: String, _ body: () throws(CertsError) -> Result) throws -> Result {
    do throws(CertsError) {
        return try body()
    } catch {
        let status: ExitStatus =
            switch error.code {
            case .missing, .malformed: .configuration
            case .permission: .noPermission
            case .unreadable: .noInput
            case .create, .listen: .cannotCreate
            case .write: .inputOutput
            case .refused: .temporary
            case .fault: .internalFault
            }
        throw Failure(status, what.isEmpty ? error.detail : "\(what): \(error.detail)")
    }
}
