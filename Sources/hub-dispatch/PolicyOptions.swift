// What nodes may send: the options of `hub-dispatch up`.

internal import ArgumentParser
internal import HubCommand
internal import HubDispatch

struct PolicyOptions: ParsableArguments {
    enum Choice: String, ExpressibleByArgument, CaseIterable {
        case open
        case node
    }

    @Option(help: "'open' lets nodes send what they like, 'node' what is theirs.")
    var policy: Choice = Environment.option("policy", .open)

    @Flag(
        inversion: .prefixedNo, help: "With --policy node: log what would be refused, and let it pass. (default: --no-policy-dry-run)")
    var policyDryRun: Bool?

    @Option(help: ArgumentHelp("With --policy-dry-run: lines logged in a second; further ones are only counted.", valueName: "lines"))
    var policyLog: Int = Environment.option("policy-log", 10)

    func validate() throws {
        guard policyDryRun != true || policy == .node else { throw ValidationError("--policy-dry-run needs --policy node") }
        guard policyLog >= 0 else { throw ValidationError("--policy-log must not be negative") }
    }

    var mode: UpstreamDispatcher.Policy {
        switch policy {
        case .open: .open
        case .node: policyDryRun ?? Environment.flag("policy-dry-run") ? .observed : .enforced
        }
    }
}
