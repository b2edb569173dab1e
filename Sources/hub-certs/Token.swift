// hub-certs token

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubPipe
internal import HubTLS

struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints a new join token.",
        discussion: """
            An edge joins with it: 'keadm join --token', or 'token' in edgecore.yaml. It holds
            the SHA-256 of the CA, so that the edge can check which CA it got, and a time of
            expiry, signed with the CA key. Nothing is stored: any number of tokens are good
            at the same time. The file 'token' holds one that 'serve' keeps fresh.

            EXAMPLES
              hub-certs token --dir /etc/hub
              hub-certs token --token-refresh 0.5 | ssh edge-0 'cat > token'

            \(ExitStatus.help([.success, .usage, .noInput, .internalFault, .inputOutput, .noPermission, .configuration]))
            """)

    @OptionGroup var directory: DirectoryOption
    @OptionGroup var token: TokenOption

    func run() throws {
        let store = directory.store
        let authority = try orFail("") { () throws(CertsError) in try store.authority() }
        let text: String
        do throws(TLSError) {
            text = try authority.tokens.make(expiry: wallMicroseconds() / 1_000_000 + 2 * token.refresh)
        } catch {
            throw Failure(.internalFault, "cannot make a token: \(error.description)")
        }
        let output = try LineWriter.standardOutput()
        output.buffer.append(contentsOf: "\(text)\n".utf8)
        try output.flush()
    }
}
