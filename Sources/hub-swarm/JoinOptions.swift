// Options about certificates: where they come from, and where they are kept.

internal import ArgumentParser
internal import HubCommand

struct JoinOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The hub's certificate service.", valueName: "url"))
    var certsURL: String = Environment.option("certs-url", "https://127.0.0.1:10002")
    @Option(help: ArgumentHelp("File with the join token, as 'hub-certs token' prints it.", valueName: "file"))
    var tokenFile: String?
    @Option(help: ArgumentHelp("Open descriptor from which the join token is read.", valueName: "number")) var tokenFd: Int32?
    @Option(
        help: ArgumentHelp(
            "Directory that keeps the CA, certificates and keys (mode 0600), so that a later run with the same names needs no token.",
            valueName: "dir"))
    var certDir: String?
    @Flag(help: "SIGHUP also fetches the CA, over a connection that the known one vouches for; an EdgeCore never does.")
    var refetchCa = false
    @Option(help: ArgumentHelp("Certificate requests that run at once.", valueName: "number")) var joinParallel = 16

    /// The options, or the environment where they are not given.
    var tokenPath: String? { tokenFd == nil ? tokenFile ?? Environment.optional("token-file", String.self) : nil }
    var directory: String? { certDir ?? Environment.optional("cert-dir", String.self) }

    func validate() throws {
        guard tokenFile == nil || tokenFd == nil else { throw ValidationError("--token-file and --token-fd exclude each other") }
        guard (1...1024).contains(joinParallel) else { throw ValidationError("--join-parallel must lie between 1 and 1024") }
    }

    func validateForTLS() throws {
        guard tokenPath != nil || tokenFd != nil || directory != nil else {
            throw ValidationError("give --token-file or --token-fd, or a --cert-dir with certificates, or --insecure")
        }
    }
}
