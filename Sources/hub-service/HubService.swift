// hub-service: what the launcher needs besides the stages.

internal import ArgumentParser
internal import HubCommand

@main
enum Main {
    static func main() { runProgram(HubServiceCommand.self) }
}

struct HubServiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hub-service",
        abstract: "Shows what a cloudcore.yaml means to the hub, and tells a service manager how the hub is.",
        version: hubVersion,
        subcommands: [CheckConfig.self, Notify.self])
}
