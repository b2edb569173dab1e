// hub-queue: keeps what each node must still acknowledge, sends it, and remembers what each node has.

internal import ArgumentParser
internal import HubCommand
internal import HubStore

@main
enum Main {
    static func main() { runProgram(HubQueueCommand.self, readsConfig: true) }
}

struct HubQueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-queue",
        abstract: "Keeps what each edge node must still acknowledge; sends, repeats, coalesces; remembers what each node has.",
        version: hubVersion,
        subcommands: [ServeCommand.self, ListCommand.self, SyncsCommand.self, NodesCommand.self, CheckCommand.self],
        defaultSubcommand: ServeCommand.self)
}

extension ExitStatus {
    /// The status for an error of `HubStore`.
    init(_ error: StoreError) {
        switch error.code {
        case .open: self = .cannotCreate
        case .permission: self = .noPermission
        case .inUse, .temporary: self = .temporary
        case .damaged, .foreign, .newerSchema: self = .configuration
        case .other: self = .internalFault
        }
    }
}
