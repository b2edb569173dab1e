// The user that a program becomes once it has read what only root may read (`--user`).

internal import CHubSystem

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

/// A user and one group, neither of them root.
package struct Account: Sendable, Equatable {
    package enum Problem: Error, Sendable, Equatable {
        /// Nothing is called like that.
        case unknown(String)
        case isRoot
        /// This process may not become somebody else.
        case notPermitted
        case system(String)
    }

    /// The name of the user.
    package let name: String
    private let user: UInt32
    private let group: UInt32

    /// - Parameter text: `USER` or `USER:GROUP`; without a group it is the user's first one.
    package init(_ text: String) throws(Problem) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        name = parts[0]
        var user: uid_t = 0
        var group: gid_t = 0
        try Self.check(unsafe CHub_find_user(name, &user, &group), "user '\(name)'")
        if parts.count > 1 { try Self.check(unsafe CHub_find_group(parts[1], &group), "group '\(parts[1])'") }
        guard user != 0, group != 0 else { throw .isRoot }
        (self.user, self.group) = (user, group)
    }

    private static func check(_ failure: Int32, _ what: String) throws(Problem) {
        switch failure {
        case 0: return
        case ENOENT: throw .unknown("there is no \(what)")
        default: throw .system("cannot look up the \(what): \(systemText(failure))")
        }
    }

    /// Becomes this user with this one group, for good: all ids are its own, no capability is left, no program that is executed can give
    /// any back, and no other process of the user can read the memory, in which keys are.
    ///
    /// Threads that run already keep the right to new privileges, so this comes before the first one is started.
    package func become() throws(Problem) {
        guard geteuid() == 0 else { throw .notPermitted }
        guard CHub_forbid_new_privileges() == 0, CHub_become(user, group) == 0, CHub_forbid_dumps() == 0 else {
            throw .system("cannot become the user '\(name)': \(systemText(CHub_errno()))")
        }
    }
}
