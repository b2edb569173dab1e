// A YAML document as a tree whose every node knows its line.

package struct ConfigNode: Sendable, Equatable {
    package struct Member: Sendable, Equatable {
        let key: String
        let line: Int
        let value: ConfigNode
    }

    package enum Value: Sendable, Equatable {
        /// A plain scalar stands for a number, a truth value, null or text; a quoted one for text alone.
        case scalar(String, isPlain: Bool)
        case sequence([ConfigNode])
        case mapping([Member])
    }

    /// Counted from 1.
    let line: Int
    let value: Value
    /// How many nodes hang here, this one included, each alias counted as what it stands for.
    let size: Int

    init(line: Int, _ value: Value) {
        self.line = line
        self.value = value
        switch value {
        case .scalar: size = 1
        case .sequence(let items): size = items.reduce(1) { $0 + $1.size }
        case .mapping(let members): size = members.reduce(1) { $0 + $1.value.size }
        }
    }

    /// The word without a value, or one of YAML's words for it.
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = value else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    var integer: Int64? {
        guard case .scalar(let text, isPlain: true) = value else { return nil }
        return Int64(text)
    }

    /// The words of YAML 1.1, which KubeEdge's parser reads.
    var truth: Bool? {
        guard case .scalar(let text, isPlain: true) = value else { return nil }
        switch text {
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y": return true
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N": return false
        default: return nil
        }
    }

    /// Text; a plain scalar that looks like something else is none, for KubeEdge refuses a number where a text belongs.
    var text: String? {
        guard case .scalar(let text, let isPlain) = value else { return nil }
        return isPlain && (isNull || truth != nil || Double(text) != nil) ? nil : text
    }
}
