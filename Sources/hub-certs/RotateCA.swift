// hub-certs rotate-ca

internal import ArgumentParser
internal import HubCerts
internal import HubCommand
internal import HubMessage
internal import HubPipe
internal import Logging

struct RotateCA: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-ca",
        abstract: "Replaces the CA while edges stay connected.",
        discussion: """
            THE STEPS
              hub-certs rotate-ca begin    makes the next CA; both are trusted, the old one
                                           signs. Then SIGHUP to hub-wsserve and 'serve'.
              hub-certs rotate-ca switch   the next CA signs: nodes, server certificate and
                                           tokens. Then SIGHUP again.
              hub-certs rotate-ca status   how many nodes still have a certificate of the
                                           old CA; --nodes names them.
              hub-certs rotate-ca finish   drops the old CA; refused (75) while nodes have
                                           a good certificate of it. Then SIGHUP again.
            Each can be run again after it was interrupted. 'abort' takes 'begin' back.

            WHAT EDGES DO
            An EdgeCore renews its certificate after 70 to 90 % of its life and gets one of
            the new CA then; --edge-days of 'serve' says how long that takes. It never
            fetches the CA again. So the server shows, beside its certificate, the new CA's
            key certified by the old CA: edges that trust either are content, also after
            'finish'. 'finish --drop-cross' ends that; edges that know only the old CA then
            have to join anew, or to get the new rootCA.crt as their CA file.
            From 'switch' on /ca.crt is the new CA, and an EdgeCore refuses to join with a
            token that was printed before.
            If others have the old key: 'switch', then 'finish --force --drop-cross', and
            join every node anew. An edge believes the old CA until then.

            EXAMPLES
              hub-certs rotate-ca begin --dir /etc/hub
              hub-certs rotate-ca status --dir /etc/hub | jq .

            \(ExitStatus.help(hubCertsStatuses))
            """,
        subcommands: [Begin.self, Switch.self, Status.self, Finish.self, Abort.self])

    private static let statuses = ExitStatus.help(hubCertsStatuses)

    struct Begin: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes the next CA and trusts it beside the old one.",
            discussion: """
                Refused when the CA may not certify another CA (path length 0, as those of the
                hub's first version): with --force it goes on, and edges that trust the old
                CA alone have to join anew after the switch.

                EXAMPLES
                  hub-certs rotate-ca begin --dir /etc/hub

                \(statuses)
                """)

        @Flag(help: "Also if edges that know only the old CA will have to join anew.") var force = false
        @OptionGroup var directory: DirectoryOption
        @OptionGroup(title: "Log") var log: LogOptions

        func run() throws {
            try orFail("") { () throws(CertsError) in try directory.store.beginRotation(isForced: force, now: now()) }
            log.logger("hub-certs").notice("rotation_begun", metadata: ["next": "send SIGHUP, then 'rotate-ca switch'"])
        }
    }

    struct Switch: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets the next CA sign nodes, server certificate and tokens.",
            discussion: """
                hub-wsserve must have got SIGHUP after 'begin': it would refuse what the next
                CA signs.

                EXAMPLES
                  hub-certs rotate-ca switch --dir /etc/hub

                \(statuses)
                """)

        @Option(help: ArgumentHelp("Validity of the new server certificate.", valueName: "days"))
        var serverDays: Int64 = Environment.option("server-days", 3650)
        @OptionGroup var token: TokenOption
        @OptionGroup var directory: DirectoryOption
        @OptionGroup(title: "Log") var log: LogOptions

        func validate() throws {
            guard (1...36_400).contains(serverDays) else { throw ValidationError("--server-days must lie between 1 and 36400") }
        }

        func run() throws {
            var settings = PrepareSettings()
            settings.serverDays = serverDays
            settings.tokenRefresh = token.refresh
            let chosen = settings
            try orFail("") { () throws(CertsError) in try directory.store.switchAuthority(chosen, now: now()) }
            log.logger("hub-certs").notice("rotation_switched", metadata: ["next": "send SIGHUP; 'rotate-ca status' shows who is left"])
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the CAs and how many nodes have a certificate of each, as JSON lines.",
            discussion: """
                A node counts for the CA of its latest certificate in issued.jsonl, unless that
                has expired or is revoked. What another program issued is not counted.

                EXAMPLES
                  hub-certs rotate-ca status --dir /etc/hub | jq -r '[.role, .nodes] | @tsv'
                  hub-certs rotate-ca status --dir /etc/hub --nodes

                \(statuses)
                """)

        @Flag(help: "Print the nodes that have a certificate of the old CA instead.") var nodes = false
        @OptionGroup var directory: DirectoryOption
        @OptionGroup(title: "Log") var log: LogOptions

        func run() throws {
            let status = try orFail("") { () throws(CertsError) in try directory.store.rotationStatus(now: now()) }
            if status.isIncomplete {
                let reason =
                    "another program made a CA; what it issued is not counted, SIGUSR1 to hub-wsserve tells who is connected with it"
                log.logger("hub-certs").warning("not_counted", metadata: ["reason": "\(reason)"])
            }
            let output = try LineWriter.standardOutput()
            if nodes {
                for holder in status.left {
                    output.buffer.append(
                        contentsOf: "{\"node\":\"\(holder.node)\",\"not_after\":\"\(Timestamp.rfc3339(holder.notAfter))\"}\n".utf8)
                }
            } else {
                for row in status.rows {
                    output.buffer.append(contentsOf: "{\"stage\":\"\(status.stage.rawValue)\",\"role\":\"\(row.role)\",\"sha256\":".utf8)
                    JSONText.appendString(row.sha256.utf8, to: &output.buffer)
                    output.buffer.append(contentsOf: ",\"subject\":".utf8)
                    JSONText.appendString(row.commonName.utf8, to: &output.buffer)
                    let end = Timestamp.rfc3339(row.notAfter)
                    output.buffer.append(contentsOf: ",\"not_after\":\"\(end)\",\"nodes\":\(row.nodes)}\n".utf8)
                }
            }
            try output.flush()
        }
    }

    struct Finish: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Drops the old CA.",
            discussion: """
                Refused with status 75 while nodes have a certificate of the old CA that is
                neither expired nor revoked; with --force those nodes have to join anew. If the
                old CA was taken over from a CloudCore, what that one issued is not counted:
                SIGUSR1 to hub-wsserve logs how many connections have a certificate of which CA.

                EXAMPLES
                  hub-certs rotate-ca finish --dir /etc/hub

                \(statuses)
                """)

        @Flag(help: "Also if nodes have good certificates of the old CA.") var force = false
        @Flag(help: "The server no longer shows that the old CA certified the new one.") var dropCross = false
        @Option(help: ArgumentHelp("Validity of a new server certificate, with --drop-cross.", valueName: "days"))
        var serverDays: Int64 = Environment.option("server-days", 3650)
        @OptionGroup var directory: DirectoryOption
        @OptionGroup(title: "Log") var log: LogOptions

        func validate() throws {
            guard (1...36_400).contains(serverDays) else { throw ValidationError("--server-days must lie between 1 and 36400") }
        }

        func run() throws {
            var settings = PrepareSettings()
            settings.serverDays = serverDays
            let chosen = settings
            let left = try orFail("") { () throws(CertsError) in
                try directory.store.finishRotation(isForced: force, dropsCross: dropCross, chosen, now: now())
            }
            log.logger("hub-certs").notice("rotation_finished", metadata: ["locked_out": "\(left)", "next": "send SIGHUP"])
        }
    }

    struct Abort: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Gives up the next CA before it signs.",
            discussion: """
                EXAMPLES
                  hub-certs rotate-ca abort --dir /etc/hub

                \(statuses)
                """)

        @OptionGroup var directory: DirectoryOption
        @OptionGroup(title: "Log") var log: LogOptions

        func run() throws {
            try orFail("") { () throws(CertsError) in try directory.store.abortRotation() }
            log.logger("hub-certs").notice("rotation_aborted", metadata: ["next": "send SIGHUP"])
        }
    }
}

private func now() -> Int64 { wallMicroseconds() / 1_000_000 }
