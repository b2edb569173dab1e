// hub-service notify: sd_notify(3) for scripts.

internal import ArgumentParser
internal import HubCommand
internal import HubPipe

struct Notify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends a state to the socket that NOTIFY_SOCKET names.",
        discussion: """
            Each WORD is one assignment, as READY=1; see sd_notify(3). The program ends when the
            service manager has taken them, or after five seconds: it would not know whose
            words they are if the process were gone. Without NOTIFY_SOCKET it does nothing.

            EXAMPLES
              hub-service notify READY=1
              hub-service notify STOPPING=1 'STATUS=The stages end'

            \(ExitStatus.help([.success, .usage, .inputOutput]))
            """)

    @Argument(help: "Assignments to send.") var word: [String]

    func validate() throws {
        guard word.allSatisfy({ $0.contains("=") && !$0.contains("\n") }) else { throw ValidationError("each WORD must be KEY=VALUE") }
    }

    func run() throws {
        var problem: String?
        let notice = try ServiceNotice.toManager { problem = problem ?? $0 }
        notice.send(word.joined(separator: "\n"))
        if problem == nil { notice.barrier(milliseconds: 5000) }
        if let problem { throw Failure(.inputOutput, problem) }
    }
}
