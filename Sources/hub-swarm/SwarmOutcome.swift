// What the statuses mean for the subcommands that connect.

internal import HubCommand

enum SwarmOutcome {
    static let statuses: [ExitStatus] = [
        .success, .usage, .noInput, .unavailable, .cannotCreate, .inputOutput, .temporary, .protocolViolation, .noPermission,
        .configuration,
    ]

    static let note = """
        Status 0 means that the aim was met (all nodes connected, --count reached,
          everything sent), or SIGTERM. 69: nobody listens at --hub or --certs-url.
          75: the run ended short of its aim. 76: the hub broke HTTP, WebSocket or the
          message format. 77: the token or the node was refused. 78: bad token, CA
          or certificate. The figures are printed in each of these cases once a
          connection was tried.
        """
}
