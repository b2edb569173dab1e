// Quantities on the command line: byte counts with binary suffixes, and durations in seconds.

internal import ArgumentParser

/// A number of bytes: `65536`, `64KiB`, `4 MiB`, `2GiB` (also `64K`, `4M`, `2G`, all powers of 1024).
package struct ByteCount: ExpressibleByArgument, Sendable, Equatable, CustomStringConvertible {
    package let bytes: Int

    package init(_ bytes: Int) { self.bytes = bytes }
    package static func kibi(_ count: Int) -> ByteCount { ByteCount(count << 10) }
    package static func mebi(_ count: Int) -> ByteCount { ByteCount(count << 20) }
    package static func gibi(_ count: Int) -> ByteCount { ByteCount(count << 30) }

    package init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int(digits) else { return nil }
        let unit = argument.dropFirst(digits.count).filter { $0 != " " }.lowercased()
        let shift: Int
        switch unit {
        case "", "b": shift = 0
        case "k", "kib": shift = 10
        case "m", "mib": shift = 20
        case "g", "gib": shift = 30
        default: return nil
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << shift)
        guard !overflow else { return nil }
        self.bytes = bytes
    }

    package var description: String {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }

    package var defaultValueDescription: String { description }
}

/// A duration on the command line, in seconds with up to nine decimals; zero or more.
package struct Seconds: ExpressibleByArgument, Sendable, Equatable, CustomStringConvertible {
    package let nanoseconds: Int64

    package init(_ seconds: Int64) { nanoseconds = seconds * 1_000_000_000 }

    package init?(argument: String) {
        guard let value = Double(argument), value >= 0, value < 1e9 else { return nil }
        nanoseconds = Int64(value * 1e9)
    }

    package var milliseconds: Int64 { nanoseconds / 1_000_000 }

    package var description: String {
        nanoseconds % 1_000_000_000 == 0 ? "\(nanoseconds / 1_000_000_000)" : "\(Double(nanoseconds) / 1e9)"
    }

    package var defaultValueDescription: String { description }
}
