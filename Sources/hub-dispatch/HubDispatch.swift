// hub-dispatch: the first and the last stage of the hub, where plain lines enter and leave.

internal import ArgumentParser
internal import HubCommand

@main
enum Main {
    static func main() { runProgram(HubDispatch.self, readsConfig: true) }
}

struct HubDispatch: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-dispatch",
        abstract: "Routes message lines between cloud controllers and the inside of the hub.",
        discussion: """
            'down' reads the plain lines of cloud controllers, finds the node that each
            is for, decides whether it must be acknowledged, and adds the envelope that
            the other stages read. 'up' reads what comes from the nodes, sends
            acknowledgements back into the hub, and writes everything else in plain form
            with its destination module.
            """,
        version: hubVersion,
        subcommands: [Down.self, Up.self])
}
