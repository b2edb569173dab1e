// hub-swarm: plays N KubeEdge edges over the wire protocol alone, and measures the hub that serves them.

internal import ArgumentParser
internal import HubCommand

@main
enum Main {
    static func main() { runProgram(HubSwarmCommand.self) }
}

struct HubSwarmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-swarm",
        abstract: "Plays N edge nodes over the wire protocol, and prints figures.",
        discussion: """
            Each edge fetches the CA, checks it against the token's hash, has a certificate
            signed, connects, sends keepalives, answers pings and acknowledges what it
            gets, as a KubeEdge edge does. Figures are one JSON object on standard output;
            progress is on standard error, about once a second.

            LATENCY
              'sink' takes the time of sending from the content of a message: the first
              member "sent", a number or a string of digits, in microseconds since 1970
              (no space before the colon). 'generate' writes it at content.data.sent.
              Percentiles are at most 0.1 % too high.

            EXAMPLES
              hub-certs token --dir certs > token
              hub-swarm sink --hub 127.0.0.1:10000 --certs-url https://127.0.0.1:10002 \\
                  --token-file token --cert-dir edges --nodes 100 --count 20000 &
              hub-swarm generate --nodes 100 --count 20000 --size 1024 | hub run > up.jsonl
              hub-swarm flood ... --nodes 100 --count 1000 --size 1024
              hub-swarm verify < up.jsonl
              hub-swarm connect ... --nodes 1000 --resume --rounds 2 --hold 60

            SIGNALS
              SIGHUP   every node renews its certificate with the one that it has, then
                       connects anew with the new one, as an EdgeCore does in time
              SIGTERM  closes the connections, prints the figures and ends with status 0
              SIGUSR1  logs one line of counters
            """,
        version: hubVersion,
        subcommands: [Sink.self, Flood.self, Connect.self, Generate.self, Verify.self])
}
