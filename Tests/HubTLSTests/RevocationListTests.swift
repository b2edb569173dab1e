// The list of refused certificates: what its lines mean, and which files are refused whole.

internal import HubTLS
internal import HubTrust
internal import Testing

@Suite struct RevocationListTests {
    private func facts(_ notBefore: Int64, _ serial: String = "0a") -> CertificateFacts {
        CertificateFacts(serial: serial, notBefore: notBefore, notAfter: .max)
    }

    @Test(
        "an entry of a node refuses what begins at its time or before, and nobody else's",
        arguments: [(99, true), (100, true), (101, false)])
    func bound(notBefore: Int64, isRefused: Bool) {
        var list = RevocationList()
        list.add(RevocationList.Entry(node: "a", until: 100))
        #expect(list.refuses(facts(notBefore), of: "a") == isRefused)
        #expect(!list.refuses(facts(notBefore), of: "b"))
        #expect(!list.isBanned("a"))
        #expect(list.bound(for: "a") == 100)
        #expect(list.bound(for: "b") == nil)
    }

    @Test("an entry of a certificate refuses that one")
    func serial() {
        var list = RevocationList()
        list.add(RevocationList.Entry(node: "a", serial: "0b", until: 100))
        #expect(list.refuses(facts(1, "0b"), of: "a"))
        #expect(list.refuses(facts(1000, "0b"), of: "a"))
        #expect(!list.refuses(facts(1, "0a"), of: "a"))
        #expect(!list.refuses(facts(1, "0b"), of: "b"))
        #expect(list.bound(for: "a") == nil)
    }

    @Test("a later entry never lets in what an earlier one refused; removal does")
    func order() {
        var list = RevocationList()
        list.add(RevocationList.Entry(node: "a", until: 200, isBanned: true))
        list.add(RevocationList.Entry(node: "a", until: 100))
        list.add(RevocationList.Entry(node: "a", serial: "0b", until: 100))
        #expect(list.refuses(facts(150), of: "a"))
        #expect(list.isBanned("a"))
        #expect(list.entries.count == 2)
        let isKnown = list.remove("a")
        #expect(isKnown && !list.remove("a"))
        #expect(!list.refuses(facts(150), of: "a") && !list.isBanned("a") && list.entries.isEmpty)
    }

    @Test("what is written is read again; empty lines do not count")
    func text() throws {
        var list = RevocationList()
        list.add(RevocationList.Entry(node: "b", until: 1_795_406_829, isBanned: true))
        list.add(RevocationList.Entry(node: "a", serial: "4f", until: 5))
        let expected =
            #"{"node":"a","serial":"4f","until":5,"ban":false,"time":"1970-01-01T00:00:05Z"}"# + "\n"
            + #"{"node":"b","until":1795406829,"ban":true,"time":"2026-11-23T04:07:09Z"}"# + "\n"
        #expect(String(decoding: list.text, as: UTF8.self) == expected)
        #expect(try RevocationList(Array("\n".utf8) + list.text) == list)
        #expect(try RevocationList([]).count == 0)
    }

    @Test(
        "one bad line refuses the file: skipping it could let somebody in",
        arguments: [
            "x", "{}", #"{"node":"a"}"#, #"{"node":"A","until":1}"#, #"{"node":"a","until":"1"}"#, #"{"node":"a","until":1.5}"#,
            #"{"node":"a","until":1,"ban":"yes"}"#, #"{"node":"a","until":1,"serial":7}"#, #"{"node":"a","until":1"#,
            #"{"node":"a","node":"b","until":1}"#,
        ])
    func malformed(line: String) {
        #expect(throws: RevocationList.Malformed(line: 2)) {
            try RevocationList(Array((#"{"node":"c","until":1}"# + "\n\(line)\n").utf8))
        }
    }
}
