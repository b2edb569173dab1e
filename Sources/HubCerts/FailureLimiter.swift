// Failed tokens, counted per address (design: "Failed tokens are rate limited per address").
//
// A good token passes whatever its address did: many nodes stand behind one address, and some of them come with an old token for hours.
// Guessing is hopeless anyway (HMAC-SHA256); what the limit saves is the log and, by closing the connection, the work.

internal import HubTLS

/// Counts within windows of one minute. The table never holds more than `capacity` addresses; further ones share one count.
package struct FailureLimiter: Sendable {
    private struct Window {
        var start: Int64
        var count: Int
    }

    private enum Key: Hashable {
        case address([UInt8])
        case text(String)
        case others
    }

    private static let length: Int64 = 60

    private let limit: Int
    private let capacity: Int
    private var windows: [Key: Window] = [:]
    private var lastSweep: Int64 = 0

    /// - Parameter limit: failures per minute and address that are answered in full.
    package init(limit: Int, capacity: Int) {
        self.limit = limit
        self.capacity = capacity
    }

    /// Addresses that are remembered.
    package var count: Int { windows.count }

    /// Counts a failure.
    ///
    /// - Parameter now: seconds since 1970; a clock that is put back starts every window anew.
    /// - Returns: nil below the limit, else the seconds after which the address starts anew.
    package mutating func failed(_ remote: String, now: Int64) -> Int64? {
        var key = Self.key(remote)
        if windows[key] == nil, windows.count >= capacity {
            sweep(now)
            if windows.count >= capacity { key = .others }
        }
        var window = windows[key] ?? Window(start: now, count: 0)
        if !Self.isOpen(window, now) { window = Window(start: now, count: 0) }
        window.count += 1
        windows[key] = window
        return window.count > limit ? max(1, window.start + Self.length - now) : nil
    }

    private static func isOpen(_ window: Window, _ now: Int64) -> Bool { (0..<length).contains(now - window.start) }

    private mutating func sweep(_ now: Int64) {
        guard now != lastSweep else { return }
        lastSweep = now
        windows = windows.filter { Self.isOpen($0.value, now) }
    }

    /// An IPv4 address counts for itself, an IPv6 address for its /64, which one host owns as a whole.
    private static func key(_ remote: String) -> Key {
        guard case .address(let bytes)? = SubjectName.address(parsing: remote) else { return .text(remote) }
        if bytes.count == 16, bytes.starts(with: [UInt8](repeating: 0, count: 10) + [0xff, 0xff]) { return .address(Array(bytes[12...])) }
        return .address(bytes.count == 16 ? Array(bytes[..<8]) : bytes)
    }
}
