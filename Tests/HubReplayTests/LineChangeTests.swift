import HubMessage
import Testing

@testable import HubReplay

@Suite("What a replay changes in a line")
struct LineChangeTests {
    private func changed(_ text: String, _ change: (inout LineChange) -> Void) throws -> String {
        var rules = LineChange()
        change(&rules)
        var output: [UInt8] = []
        unsafe try Array(text.utf8).withUnsafeBytes { unsafe rules.append(try Line.scan($0), to: &output) }
        #expect(output.last == 0x0a)
        return String(decoding: output.dropLast(), as: UTF8.self)
    }

    private let plain =
        #"{"header":{"msg_id":"m","parent_msg_id":"p","timestamp":17,"resourceversion":"9"},"route":{"resource":"node/a/kube-node-lease/lease/a"},"content":{"a":"a"}}"#
    private let inner =
        #"{"hub":{"kind":"ack","node":"a","key":"k","version":"99"},"header":{"msg_id":"m","resourceversion":"99"},"route":{"resource":"default/node/a"},"content":"a"}"#

    @Test("nothing, if nothing is asked for")
    func nothing() throws {
        #expect(try changed(plain) { _ in } == plain)
    }

    @Test("the node, in the envelope and in whole segments of the resource")
    func node() throws {
        #expect(
            try changed(plain) { $0.to = Array("shop-1".utf8) }
                == plain.replacing("node/a/kube-node-lease/lease/a", with: "node/shop-1/kube-node-lease/lease/shop-1"))
        #expect(
            try changed(inner) { $0.to = Array("b".utf8) }
                == inner.replacing(#""node":"a""#, with: #""node":"b""#).replacing("default/node/a", with: "default/node/b"))
        // A part of a segment is no name.
        let longer = plain.replacing("lease/a", with: "lease/ab")
        #expect(try changed(longer) { $0.to = Array("c".utf8) } == longer.replacing("node/a/", with: "node/c/"))
        // Without a node there is nothing to rename.
        let none = plain.replacing("node/a/kube-node-lease/lease/a", with: "membership/x")
        #expect(try changed(none) { $0.to = Array("c".utf8) } == none)
    }

    @Test("versions, of any length")
    func versions() throws {
        #expect(try changed(plain) { $0.versionShift = 1 } == plain.replacing(#""9""#, with: #""10""#))
        #expect(try changed(inner) { $0.versionShift = 1_000 } == inner.replacing(#""99""#, with: #""1099""#))
        for (digits, summand, sum) in [
            ("0", UInt64(5), "5"), ("999", 1, "1000"), ("18446744073709551615", 1, "18446744073709551616"),
            ("99999999999999999999999999", 1 << 62, "100000004611686018427387903"),
        ] {
            #expect(LineChange.sum(Array(digits.utf8), summand) == Array(sum.utf8))
        }
        #expect(LineChange.sum([], 1) == nil)
        #expect(LineChange.sum(Array("1x".utf8), 1) == nil)
    }

    @Test("ids, also those that answers name, and the time")
    func ids() throws {
        #expect(
            try changed(plain) { $0.idSuffix = Array("-b".utf8) }
                == plain.replacing(#""m""#, with: #""m-b""#).replacing(#""p""#, with: #""p-b""#))
        #expect(try changed(plain) { $0.timestamp = 123_456 } == plain.replacing("17", with: "123456"))
    }
}

@Suite("A new name")
struct RenameTests {
    @Test("holds the number of the copy wherever the braces stand")
    func number() {
        #expect(Rename("a=b-{}-{}")?.name(7) == Array("b-7-7".utf8))
        #expect(Rename("*=b")?.from == nil)
        #expect(Rename("a=b=c")?.to == "b=c")
        for wrong in ["", "a", "=b", "a="] { #expect(Rename(wrong) == nil) }
    }
}
