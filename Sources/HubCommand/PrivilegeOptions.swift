// `--user`: a server that strangers reach runs without privileges.

package import ArgumentParser
internal import HubPipe

/// The option of programs that listen.
package struct PrivilegeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Become this user, with this one group, once all files and the port are open. Needs root. It can also come from HUB_USER.",
            valueName: "user[:group]"))
    package var user: String?

    package init() {}

    package func validate() throws {
        guard user != "" else { throw ValidationError("--user must not be empty") }
    }

    /// The user to become, nil without the option. Nothing has changed yet.
    package func account() throws -> Privileges? {
        guard let user = user ?? Environment.optional("user", String.self) else { return nil }
        return try Privileges(user)
    }
}

/// The privileges that a program gives up.
package struct Privileges: Sendable {
    private let account: Account
    package var name: String { account.name }

    init(_ text: String) throws {
        do throws(Account.Problem) {
            account = try Account(text)
        } catch {
            throw Self.failure(error)
        }
    }

    /// Gives them up, for good. No thread may have been started before.
    package func drop() throws {
        do throws(Account.Problem) {
            try account.become()
        } catch {
            throw Self.failure(error)
        }
    }

    /// What to add to the reason why a file could not be read again.
    package var hint: String { "read as the user \(name), who or whose group must be allowed to" }

    private static func failure(_ problem: Account.Problem) -> Failure {
        switch problem {
        case .unknown(let what): Failure(.usage, "--user: \(what)")
        case .isRoot: Failure(.usage, "--user: it is root and its group that are to be left")
        case .notPermitted: Failure(.noPermission, "--user needs root: nobody else can become another user")
        case .system(let what): Failure(.noPermission, "--user: \(what)")
        }
    }
}
