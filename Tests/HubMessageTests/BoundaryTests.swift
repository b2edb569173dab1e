import Testing

@testable import HubMessage

/// What the scanner does in words and blocks must not show: neither where a string ends nor where a fault is.
@Suite("Words and blocks")
struct BoundaryTests {
    /// Longer than the words that are tried first, and two blocks.
    private static let lengths = 0...110
    private static let head = #"{"header":{},"route":{},"content":""#

    @Test("a string ends, and is at fault, at the same byte whatever its length")
    func ends() {
        for length in Self.lengths {
            let text = Self.head + String(repeating: "x", count: length)
            let next = text.utf8.count
            #expect(scanError((text + "\"}").utf8) == nil)
            #expect(scanError((text + #"\"é€😀"}"#).utf8) == nil)
            #expect(scanError(text.utf8) == MessageError(.notJSON, at: next))
            #expect(scanError((text + "\u{1f}yyyyyyyyy\"}").utf8) == MessageError(.notJSON, at: next))
            #expect(scanError((text + #"\qyyyyyyyyy"}"#).utf8) == MessageError(.notJSON, at: next + 1))
            #expect(scanError(Array(text.utf8) + [0x80] + Array("yyyyyyyyy\"}".utf8)) == MessageError(.invalidUTF8, at: next))
            #expect(scanError(Array(text.utf8) + [0xed, 0xa0, 0x80] + Array("yyyyyyyyy\"}".utf8)) == MessageError(.invalidUTF8, at: next))
        }
    }

    @Test("a byte of 0x21, 0x23, 0x5b, 0x5d or 0x7f is plain at every position")
    func plain() {
        for byte: UInt8 in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f] {
            for length in Self.lengths {
                let text = [UInt8](Self.head.utf8) + [UInt8](repeating: byte, count: length) + Array("\"}".utf8)
                #expect(scanError(text) == nil)
            }
        }
    }

    @Test("a number ends at the same byte whatever its length")
    func numbers() throws {
        for length in 1...40 {
            let digits = "1" + String(repeating: "7", count: length - 1)
            for tail in ["", ".5", "e9", ".25E-3"] {
                try withLine(#"{"header":{"timestamp":\#(digits)\#(tail)},"route":{}}"#) { line in
                    #expect(line.string(line.index.header.timestamp) == digits + tail)
                }
            }
            let broken = #"{"header":{"timestamp":"# + digits
            #expect(scanError((broken + ":").utf8) == MessageError(.notJSON, at: broken.utf8.count))
        }
    }

    @Test("containers of both kinds close in their order, however deep")
    func nesting() {
        for depth in [1, 2, 63, 64, 65, 127, 128, 129, 300, 500] {
            // One container in three is an object, so that words of the memory for them differ.
            var open = ""
            var close = ""
            for level in 0..<depth {
                open += level % 3 == 0 ? #"{"k":"# : "["
                close = (level % 3 == 0 ? "}" : "]") + close
            }
            let head = #"{"header":{},"route":{},"content":"#
            #expect(scanError((head + open + "1" + close + "}").utf8) == nil)
            let swapped = close.replacing("}", with: "?").replacing("]", with: "}").replacing("?", with: "]")
            #expect(scanError((head + open + "1" + swapped + "}").utf8) == MessageError(.notJSON, at: (head + open).utf8.count + 1))
        }
    }

    @Test("a session is an integer below 2^53")
    func session() throws {
        func line(_ session: String) -> String { #"{"hub":{"kind":"up","session":\#(session)},"header":{},"route":{}}"# }
        for (text, value) in [("0", 0), ("-0", 0), ("7", 7), ("9007199254740991", 9_007_199_254_740_991)] as [(String, Int64)] {
            try withLine(line(text)) { #expect($0.index.hub.session == value) }
        }
        for text in ["-1", "1.0", "1e3", "9007199254740992", "99999999999999999", "18446744073709551617", "\"7\""] {
            #expect(scanError(line(text).utf8)?.code == .wrongType, "\(text)")
        }
    }

    @Test("numbers are appended as Swift writes them", arguments: [0, 9, 10, -1, 99, 100, 1_795_406_829_541, .max, .min] as [Int64])
    func decimal(_ number: Int64) {
        var output: [UInt8] = [0x3d]
        output.append(decimal: number)
        #expect(output == Array("=\(number)".utf8))
    }

    @Test("an output takes pieces whatever its capacity, and keeps what it has")
    func tail() {
        var output: [UInt8] = []
        var expected: [UInt8] = []
        for length in 0..<300 {
            let piece = [UInt8](repeating: UInt8(length & 0x7f), count: length)
            let shared = output
            unsafe piece.withUnsafeBytes { bytes in
                output.append(atMost: length + 9) { tail in
                    tail.append(0x3c)
                    unsafe tail.append(bytes)
                    tail.append("literal")
                }
            }
            #expect(shared == expected)
            expected += [0x3c] + piece + Array("literal".utf8)
            #expect(output == expected)
        }
    }
}
