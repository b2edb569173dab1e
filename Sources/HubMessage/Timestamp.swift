// Times of day in the forms that files and HTTP have.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#endif

package enum Timestamp {
    /// RFC 3339 in UTC: `2026-11-24T20:31:00Z`.
    /// - Parameter seconds: since 1970.
    package static func rfc3339(_ seconds: Int64) -> String { format(seconds, "%Y-%m-%dT%H:%M:%SZ") }

    /// The `Date` of HTTP (RFC 9110, 5.6.7): `Tue, 24 Nov 2026 20:31:00 GMT`. The programs set no locale, so the names are English.
    package static func http(_ seconds: Int64) -> String { format(seconds, "%a, %d %b %Y %H:%M:%S GMT") }

    /// The time that `rfc3339` wrote, nil for any other text.
    package static func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count == 20, bytes[4] == 0x2d, bytes[7] == 0x2d, bytes[10] == 0x54, bytes[13] == 0x3a, bytes[16] == 0x3a,
            bytes[19] == 0x5a
        else { return nil }
        func number(_ range: Range<Int>) -> CInt? { CInt(String(decoding: bytes[range], as: UTF8.self)) }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19)
        else { return nil }
        var parts = unsafe tm()
        unsafe (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, month - 1, day)
        unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
        let seconds = Int64(unsafe timegm(&parts))
        // What is out of range, as a 13th month, would have become another time.
        return rfc3339(seconds) == text ? seconds : nil
    }

    private static func format(_ seconds: Int64, _ pattern: String) -> String {
        var time = time_t(seconds)
        var parts = unsafe tm()
        guard unsafe gmtime_r(&time, &parts) != nil else { return "" }
        var text = [CChar](repeating: 0, count: 64)
        let count = unsafe strftime(&text, text.count, pattern, &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
