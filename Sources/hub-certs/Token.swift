// hub-certs token

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubMessage
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

            KubeEdge's token lets whoever has it join as any node. With --node it is good
            for one node, with --once for one certificate: the record of the signature in
            issued.jsonl names the token, and using it again is answered 401. An edge that
            loses the answer needs another token. 'serve --no-shared-token' takes no others.

            After 'rotate-ca switch' an edge refuses tokens that were printed before it.

            EXAMPLES
              hub-certs token --dir /etc/hub
              hub-certs token --ttl 30m | ssh edge-0 'cat > token'
              hub-certs token --node edge-7 --ttl 1h --once

            \(ExitStatus.help([.success, .usage, .noInput, .internalFault, .inputOutput, .noPermission, .configuration]))
            """)

    @OptionGroup var directory: DirectoryOption
    @OptionGroup var token: TokenOption
    @Option(help: ArgumentHelp("The only node that the token enrols.", valueName: "name"))
    var node: String?
    @Option(help: ArgumentHelp("Life of the token: 90s, 30m, 1h, 7d. (default: twice --token-refresh)", valueName: "duration"))
    var ttl: Lifetime?
    @Flag(help: "The token is good for one certificate; needs --node.")
    var once = false

    func validate() throws {
        if let node {
            guard NodeName.isValid(Array(node.utf8)) else { throw ValidationError("--node: '\(node)' is not an RFC 1123 subdomain") }
        } else if once {
            throw ValidationError("--once needs --node")
        }
    }

    func run() throws {
        let store = directory.store
        let authority = try orFail("") { () throws(CertsError) in try store.authority() }
        let text: String
        do throws(TLSError) {
            let expiry = wallMicroseconds() / 1_000_000 + (ttl?.seconds ?? 2 * token.refresh)
            text = try authority.tokens.make(expiry: expiry, node: node, id: once ? Digest.hex(try Digest.random(16)) : nil)
        } catch {
            throw Failure(.internalFault, "cannot make a token: \(error.description)")
        }
        let output = try LineWriter.standardOutput()
        output.buffer.append(contentsOf: "\(text)\n".utf8)
        try output.flush()
    }
}

/// `90s`, `30m`, `1h`, `7d`; a number alone is seconds. From 1 second to 10 years.
struct Lifetime: ExpressibleByArgument {
    let seconds: Int64

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let units: [String: Int64] = ["": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let number = Int64(digits), number <= 1_000_000_000, let unit = units[argument.dropFirst(digits.count).lowercased()],
            (1...315_360_000).contains(number * unit)
        else { return nil }
        seconds = number * unit
    }
}
