// Why a line was refused.

/// A line that is no message, with the byte at which that showed.
package struct MessageError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable, Equatable {
        case notJSON = "not JSON"
        case notObject = "not an object"
        case invalidUTF8 = "invalid UTF-8"
        case tooDeep = "nested deeper than 512"
        case duplicateKey = "repeated key"
        case tooManyMembers = "too many unknown members"
        case missing = "missing member"
        case wrongType = "wrong type"
        case misplacedEnvelope = "'hub' is not the first member"
        case envelope = "bad envelope"
    }

    package let code: Code
    /// Byte within the line, from 0.
    package let offset: Int
    /// The member that is meant, empty when none is. Never text of the line itself.
    package let member: String

    package init(_ code: Code, at offset: Int, _ member: String = "") {
        self.code = code
        self.offset = offset
        self.member = member
    }

    package var description: String {
        "\(code.rawValue)\(member.isEmpty ? "" : " \(member)") at byte \(offset)"
    }
}
