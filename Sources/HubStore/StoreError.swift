// The error of this library.

/// A failed operation on the state file.
package struct StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// The file is not there, or cannot be opened or created.
        case open
        case permission
        /// Another process serves from this file.
        case inUse
        /// The file is no SQLite database, or is damaged.
        case damaged
        /// The file is another program's database.
        case foreign
        /// A newer version of this program wrote the file.
        case newerSchema
        /// Disk full, input/output error, locked by another program: may work later.
        case temporary
        /// Any other answer of SQLite.
        case other
    }

    package let code: Code
    /// What failed, for the user, with the file's name.
    package let detail: String
    /// SQLite's extended result code, 0 when there is none.
    package let result: Int32

    package init(_ code: Code, _ detail: String, result: Int32 = 0) {
        self.code = code
        self.detail = detail
        self.result = result
    }

    package var description: String { detail }
}
