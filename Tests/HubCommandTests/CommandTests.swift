import Logging
import Testing

@testable import HubCommand

@Suite("Log lines")
struct LogTextTests {
    @Test("begin with level and event, then the members by name")
    func order() {
        let text = LogText.render(.text, .warning, "reject", ["line": "2", "input": "-", "reason": "not JSON at byte 3"])
        #expect(text == #"level=warn event=reject input=- line=2 reason="not JSON at byte 3""#)
    }

    @Test("in JSON are one object")
    func json() {
        #expect(LogText.render(.json, .info, "connected", ["node": "a\"b"]) == #"{"level":"info","event":"connected","node":"a\"b"}"#)
    }

    @Test(
        "keep peer text in its place",
        arguments: [
            ("a b", #""a b""#), ("", #""""#), ("a=b", #""a=b""#), ("a\nlevel=error", #""a\nlevel=error""#),
            ("\u{1b}[31m", #""\u001b[31m""#),
            ("\u{202e}x", #""\u202ex""#), ("\u{2028}", #""\u2028""#), ("\u{85}", #""\u0085""#), (#"\"#, #""\\""#), ("é中", "é中"),
        ])
    func escaping(_ value: String, _ expected: String) {
        #expect(LogText.render(.text, .info, "e", ["v": "\(value)"]) == "level=info event=e v=\(expected)")
    }
}

@Suite("Quantities")
struct QuantityTests {
    @Test(
        "byte counts",
        arguments: [("65536", 65536), ("64KiB", 65536), ("4 MiB", 4 << 20), ("2G", 2 << 30), ("0", 0), ("1k", 1024), ("7b", 7)])
    func bytes(_ text: String, _ expected: Int) { #expect(ByteCount(argument: text)?.bytes == expected) }

    @Test("byte counts that are none", arguments: ["", "x", "-1", "1.5M", "1TB", "99999999999999999999", "9999999999G"])
    func badBytes(_ text: String) { #expect(ByteCount(argument: text) == nil) }

    @Test("byte counts print as they are typed", arguments: ["65536", "64KiB", "4MiB", "0", "1025"])
    func print(_ text: String) { #expect(ByteCount(argument: text)?.description == (text == "65536" ? "64KiB" : text)) }

    @Test("seconds", arguments: [("30", 30_000), ("0.5", 500), ("0", 0), ("1e1", 10_000)])
    func seconds(_ text: String, _ milliseconds: Int64) { #expect(Seconds(argument: text)?.milliseconds == milliseconds) }

    @Test("seconds that are none", arguments: ["", "-1", "x", "nan", "inf", "1e10"])
    func badSeconds(_ text: String) { #expect(Seconds(argument: text) == nil) }
}
