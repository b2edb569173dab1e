// What a join token says (RFC 7519, section 4.1: `exp`, `nbf`, `sub`, `jti`).

internal import HubMessage

package struct JoinClaims: Sendable, Equatable {
    /// Kubernetes' user name of a node begins with it.
    static let userPrefix = "system:node:"

    /// Seconds since 1970.
    package let until: Int64
    let notBefore: Int64
    /// The only node that the token enrols; nil for any.
    package let node: String?
    /// A token with an id is good once.
    package let id: String?

    package init(until: Int64, notBefore: Int64 = 0, node: String? = nil, id: String? = nil) {
        self.until = until
        self.notBefore = notBefore
        self.node = node
        self.id = id
    }

    /// - Returns: nil when `exp` is missing, or a claim has another form than it should.
    init?(_ object: FlatJSON) {
        guard let until = Self.time(object["exp"]) else { return nil }
        self.until = until
        switch object["nbf"] {
        case nil: notBefore = 0
        case let value:
            guard let time = Self.time(value) else { return nil }
            notBefore = time
        }
        switch object["sub"] {
        case nil: node = nil
        case .string(let user)? where user.hasPrefix(Self.userPrefix): node = String(user.dropFirst(Self.userPrefix.count))
        default: return nil
        }
        switch object["jti"] {
        case nil: id = nil
        case .string(let text)? where (1...64).contains(text.utf8.count): id = text
        default: return nil
        }
    }

    private static func time(_ value: FlatJSON.Value?) -> Int64? {
        guard case .number(let text)? = value, let time = Double(text), time > 0, time < 1e15 else { return nil }
        return Int64(time)
    }
}
