// One pending message as a row.

/// Key, version and object of a message, in the bytes that the state machine already holds.
package struct RowText: Sendable {
    package let bytes: [UInt8]
    package let keyEnd: Int
    package let versionEnd: Int
    package let objectStart: Int
    package let objectEnd: Int

    package init(bytes: [UInt8], keyEnd: Int, versionEnd: Int, objectStart: Int, objectEnd: Int) {
        self.bytes = bytes
        self.keyEnd = keyEnd
        self.versionEnd = versionEnd
        self.objectStart = objectStart
        self.objectEnd = objectEnd
    }

    var key: ArraySlice<UInt8> { bytes[..<keyEnd] }
    var version: ArraySlice<UInt8> { bytes[keyEnd..<versionEnd] }
}

/// The columns of a row beside its line.
package struct Row: Sendable {
    package let id: Int64
    /// The node's number in the state file.
    package let node: Int64
    package let keyHash: UInt64
    package let pathHash: UInt64
    package let messageHash: UInt64
    package let isDelete: Bool
    package let text: RowText

    package init(
        id: Int64, node: Int64, keyHash: UInt64, pathHash: UInt64, messageHash: UInt64, isDelete: Bool, text: RowText
    ) {
        self.id = id
        self.node = node
        self.keyHash = keyHash
        self.pathHash = pathHash
        self.messageHash = messageHash
        self.isDelete = isDelete
        self.text = text
    }
}

/// Backoff and last error of a key, for `list`.
package struct RowTrouble: Sendable, Equatable {
    package var attempts: Int?
    /// Microseconds since 1970.
    package var backoffUntil: Int64?
    /// The content of the last refusal, shortened.
    package var error: [UInt8]?

    package init() {}
}
