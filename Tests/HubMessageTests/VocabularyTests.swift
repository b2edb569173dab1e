import Testing

@testable import HubMessage

@Suite("Names, versions and envelopes")
struct VocabularyTests {
    @Test("node names that are RFC 1123 subdomains", arguments: ["a", "edge-0", "a.b-c.d0", "0", String(repeating: "a", count: 253)])
    func goodNames(_ name: String) { #expect(NodeName.isValid(Array(name.utf8))) }

    @Test(
        "node names that are not",
        arguments: ["", "A", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a-.b", "a_b", "a/b", "é", String(repeating: "a", count: 254)])
    func badNames(_ name: String) { #expect(!NodeName.isValid(Array(name.utf8))) }

    @Test(
        "versions compare as numbers of any length",
        arguments: [
            ("1", "2", -1), ("9", "10", -1), ("010", "10", 0), ("0", "000", 0), ("99999999999999999999999", "99999999999999999999998", 1),
        ])
    func versions(_ left: String, _ right: String, _ order: Int) {
        #expect(ResourceVersion.compare(Array(left.utf8), Array(right.utf8)) == order)
        #expect(ResourceVersion.compare(Array(right.utf8), Array(left.utf8)) == -order)
    }

    @Test("versions are digits only", arguments: ["", "-1", "1.0", "x", " 1"])
    func badVersions(_ text: String) { #expect(!ResourceVersion.isValid(Array(text.utf8))) }

    @Test(
        "an envelope needs the members of its kind",
        arguments: [
            (#"{"kind":"ack","node":"n","key":"k","version":"1"}"#, true), (#"{"kind":"ack","node":"n","key":"k"}"#, false),
            (#"{"kind":"ack","node":"n","key":"k","force":true}"#, true), (#"{"kind":"ack","node":"n","version":"1"}"#, false),
            (#"{"kind":"ack","node":"n","key":"k","version":"x","force":true}"#, false),
            (#"{"kind":"ack","node":"N","key":"k","version":"1"}"#, false), (#"{"kind":"once","node":"n"}"#, true),
            (#"{"kind":"once"}"#, false), (#"{"kind":"up","node":"n","session":1}"#, true), (#"{"kind":"up","node":"n"}"#, false),
            (#"{"kind":"event","node":"n","session":1,"event":"connected"}"#, true),
            (#"{"kind":"event","node":"n","event":"connected"}"#, false),
            (#"{"kind":"event","node":"n","session":1,"event":"other"}"#, false), (#"{"kind":"event","event":"reset"}"#, true),
            (#"{"kind":"event","event":"who"}"#, true), (#"{"kind":"event","event":"live"}"#, false), (#"{"kind":"x","node":"n"}"#, false),
            (#"{}"#, false),
        ])
    func envelopes(_ envelope: String, _ isGood: Bool) throws {
        try withLine(#"{"hub":\#(envelope),"header":{"msg_id":"m"},"route":{}}"#) { line in
            var problem: MessageError?
            do throws(MessageError) { try line.checkEnvelope() } catch { problem = error }
            #expect((problem == nil) == isGood, "\(problem?.description ?? "taken")")
        }
    }

    @Test("a node table keeps names apart through additions and removals")
    func nodeTable() {
        var table = NodeTable()
        var model: [String: Int] = [:]
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let name = "edge-\(Int.random(in: 0..<500, using: &random))"
            if let id = model[name], Bool.random(using: &random) {
                table.remove(id)
                model[name] = nil
            } else {
                let id = unsafe Array(name.utf8).withUnsafeBytes { unsafe table.intern($0) }
                if let known = model[name] { #expect(known == id) }
                model[name] = id
            }
        }
        #expect(table.count == model.count)
        #expect(table.capacity <= 501)
        for (name, id) in model {
            #expect(unsafe Array(name.utf8).withUnsafeBytes { unsafe table.find($0) } == id)
            #expect(table.name(id) == name)
        }
    }
}
