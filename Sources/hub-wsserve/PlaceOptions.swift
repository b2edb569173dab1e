// Where hub-wsserve listens, and as whom.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe
internal import HubServe
internal import HubTLS
internal import HubTrust

struct PlaceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Address to listen on, '<address>:<port>' or '[<address>]:<port>'; port 0 takes a free one.", valueName: "address"))
    var listen: String = Environment.option("listen", "0.0.0.0:10000")

    @Option(help: ArgumentHelp("Write the port to this file once it is open.", valueName: "file"))
    var printPort: String?

    @Option(help: ArgumentHelp("Where hub-certs has put rootCA.crt, server.crt and server.key.", valueName: "directory"))
    var dir: String = Environment.option("dir", "/etc/hub")

    @Option(
        help: ArgumentHelp("PEM of the authorities that sign the nodes' certificates. (default: rootCA.crt in --dir)", valueName: "file"))
    var ca: String?

    @Option(help: ArgumentHelp("PEM of the server's certificate chain, leaf first. (default: server.crt in --dir)", valueName: "file"))
    var cert: String?

    @Option(help: ArgumentHelp("PEM of the server's private key. (default: server.key in --dir)", valueName: "file"))
    var key: String?

    @Option(
        help: ArgumentHelp(
            "Certificates that are refused, as 'hub-certs revoke' lists them; none without the file. (default: revoked.jsonl beside the CA)",
            valueName: "file"))
    var revoked: String?

    @Flag(help: "SIGHUP also closes connections whose certificate has expired since they were made.")
    var closeExpired = false

    @Flag(help: "Admit the certificates of old EdgeCores, CN=kubeedge.io, as whatever node their header says.")
    var legacyIdentity = false

    @Flag(help: "Serve plain ws:// without certificates, on a loopback address only.")
    var insecure = false

    func address() throws -> (host: String, port: Int) {
        let address: (host: String, port: Int)
        do throws(ServeError) {
            address = try EdgeServer.parse(listen)
        } catch {
            throw Failure(.usage, "--listen: \(error.detail)")
        }
        guard !insecure || EdgeServer.isLoopback(address.host) else {
            throw Failure(.usage, "--insecure needs a loopback address in --listen")
        }
        return address
    }

    /// Reads the files, and makes a TLS context and the list of the refused of them.
    func trust() throws -> ClientTrust {
        let authorities = try read(path("ca", ca, "rootCA.crt"), "CA certificate")
        let chain = try read(path("cert", cert, "server.crt"), "certificate")
        var secret = try read(path("key", key, "server.key"), "private key")
        defer { Secret.cleanse(&secret) }
        let revocations = try revocations()
        do throws(TLSError) {
            let identity = try TLSIdentity(certificates: chain, privateKey: secret)
            let context = try TLSContext.server(
                TLSServerSettings(identity: identity, clientAuthorities: authorities, clientCertificate: .required))
            return try ClientTrust(
                context: context, authorities: try Certificate.readAll(pem: authorities), revocations: revocations)
        } catch {
            throw Failure(.configuration, "cannot use certificate, key and CA: \(error.description)")
        }
    }

    private func revocations() throws -> RevocationList {
        // Beside the CA, wherever that is: a list that nobody finds would let in whom it names.
        let authority = path("ca", ca, "rootCA.crt")
        let place = authority.lastIndex(of: "/").map { String(authority[...$0]) } ?? ""
        let path = revoked ?? Environment.optional("revoked", String.self) ?? "\(place)revoked.jsonl"
        let content: [UInt8]
        do throws(PipeError) {
            content = try Descriptor.contents(of: path, limit: RevocationList.maxFile)
        } catch {
            if error.isAbsent { return RevocationList() }
            throw Failure(error.isPermission ? .noPermission : .configuration, "cannot read the revocations: \(error.description)")
        }
        do throws(RevocationList.Malformed) {
            return try RevocationList(content)
        } catch {
            throw Failure(.configuration, "\(path): line \(error.line) is no revocation")
        }
    }

    private func path(_ option: String, _ given: String?, _ name: String) -> String {
        given ?? Environment.optional(option, String.self) ?? "\(dir)/\(name)"
    }

    private func read(_ path: String, _ what: String) throws -> [UInt8] {
        do throws(PipeError) {
            return try SmallFile.read(path)
        } catch {
            throw Failure(error.isPermission ? .noPermission : .configuration, "cannot read the \(what): \(error.description)")
        }
    }
}
