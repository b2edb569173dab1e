// Times of day in the two forms that the programs write.

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

    private static func format(_ seconds: Int64, _ pattern: String) -> String {
        var time = time_t(seconds)
        var parts = unsafe tm()
        guard unsafe gmtime_r(&time, &parts) != nil else { return "" }
        var text = [CChar](repeating: 0, count: 64)
        let count = unsafe strftime(&text, text.count, pattern, &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
