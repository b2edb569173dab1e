import Testing

@testable import HubConfig

private func config(_ text: String) throws -> CloudCoreConfig { try CloudCoreConfig(Array(text.utf8)) }

private func problem(_ text: String) -> String? {
    do throws(ConfigError) {
        _ = try CloudCoreConfig(Array(text.utf8))
        return nil
    } catch {
        return error.description(file: "c.yaml")
    }
}

/// `variable=value,value` of what comes from the keys of cloudHub.
private func settings(_ hub: String) throws -> [String] {
    let text = "modules:\n  cloudHub:\n" + hub.split(separator: "\n").map { "    \($0)\n" }.joined()
    return try config(text).settings.map { "\($0.variable)=\($0.values.joined(separator: ","))" }
}

@Suite("cloudcore.yaml")
struct CloudCoreConfigTests {
    @Test(
        "a key is an option",
        arguments: [
            ("keepaliveInterval: 20", "timeout=20"), ("nodeLimit: 500", "node-limit=500"), ("NODELIMIT: 7", "node-limit=7"),
            ("edgeCertSigningDuration: 30", "edge-days=30"), ("tokenRefreshDuration: 24", "token-refresh=24"),
            ("tlsCAFile: /a/ca.crt", "ca=/a/ca.crt"), ("tlsCAKeyFile: /a/ca.key", "ca-key=/a/ca.key"),
            ("tlsCertFile: '/a/s.crt'", "cert=/a/s.crt"), ("tlsPrivateKeyFile: \"/a/s.key\"", "key=/a/s.key"),
            ("advertiseAddress: [192.0.2.7, '2001:db8::7']", "advertise=192.0.2.7,2001:db8::7"),
            ("dnsNames:\n- hub.example.com\n- '*.example.com'", "dns=hub.example.com,*.example.com"),
            ("websocket: {port: 10010}", "listen=0.0.0.0:10010"), ("websocket: {address: 127.0.0.1}", "listen=127.0.0.1:10000"),
            ("websocket: {address: '::1', port: 1}", "listen=[::1]:1"),
            ("https: {enable: false, port: 443, address: 0.0.0.0}", "certs-listen=0.0.0.0:443"),
            ("a: &p 81\nhttps: {port: *p}", "certs-listen=0.0.0.0:81"),
        ])
    func keys(_ text: String, _ expected: String) throws { #expect(try settings(text) == [expected]) }

    @Test(
        "authorization is a policy; what it leaves out counts as in KubeEdge",
        arguments: [
            ("{enable: false}", ["policy=open"]), ("{enable: true}", ["policy=node", "policy-dry-run=true"]),
            ("{enable: true, debug: false}", ["policy=node", "policy-dry-run=false"]), ("{enable: true, modes: []}", ["policy=open"]),
            ("{enable: true, debug: no, modes: [{node: {enable: off}}]}", ["policy=open"]),
            ("{enable: yes, debug: no, modes: [{node: {enable: on}}]}", ["policy=node", "policy-dry-run=false"]),
        ])
    func authorization(_ text: String, _ expected: [String]) throws { #expect(try settings("authorization: \(text)") == expected) }

    @Test(
        "empty values say nothing",
        arguments: ["dnsNames: ['']", "nodeLimit:", "tlsCAFile: ''", "websocket: ~", "advertiseAddress: []", "websocket: {}"])
    func empty(_ text: String) throws { #expect(try settings(text) == []) }

    @Test("nothing at all is a file", arguments: ["", "# a comment\n", "---\n", "modules:\n", "{}"])
    func nothing(_ text: String) throws { #expect(try config(text).settings.isEmpty) }

    @Test(
        "a bad value is named with its line and its key",
        arguments: [
            ("nodeLimit: many", "c.yaml:3: modules.cloudHub.nodeLimit: must be a whole number of nodes"),
            ("nodeLimit: '5'", "c.yaml:3: modules.cloudHub.nodeLimit: must be a whole number of nodes"),
            ("nodeLimit: 0", "c.yaml:3: modules.cloudHub.nodeLimit: must lie between 1 and 2147483647, not 0"),
            ("nodeLimit: 99999999999999999999", "c.yaml:3: modules.cloudHub.nodeLimit: must be a whole number of nodes"),
            ("tokenRefreshDuration: 12h", "c.yaml:3: modules.cloudHub.tokenRefreshDuration: must be a whole number of hours"),
            ("websocket:\n  port: 70000", "c.yaml:4: modules.cloudHub.websocket.port: must lie between 1 and 65535, not 70000"),
            ("websocket: 5", "c.yaml:3: modules.cloudHub.websocket: must be a mapping of keys to values"),
            ("websocket: {address: here}", "c.yaml:3: modules.cloudHub.websocket.address: must be an IP address, not 'here'"),
            ("websocket: {enable: maybe}", "c.yaml:3: modules.cloudHub.websocket.enable: must be true or false"),
            (
                "websocket: {enable: false}",
                "c.yaml:3: modules.cloudHub.websocket.enable: must not be false: the hub has no other server for nodes"
            ),
            ("enable: false", "c.yaml:3: modules.cloudHub.enable: must not be false: CloudHub is what the hub is"),
            ("tlsCAFile: 5", "c.yaml:3: modules.cloudHub.tlsCAFile: must be the path of a file"),
            ("advertiseAddress: 192.0.2.7", "c.yaml:3: modules.cloudHub.advertiseAddress: must be a list"),
            ("advertiseAddress:\n- 192.0.2.7\n- x", "c.yaml:5: modules.cloudHub.advertiseAddress: each must be an IP address, not 'x'"),
            ("authorization: {modes: 1}", "c.yaml:3: modules.cloudHub.authorization.modes: must be a list"),
            ("writeTimeout: x", "c.yaml:3: modules.cloudHub.writeTimeout: must be a whole number of seconds"),
        ])
    func badValue(_ text: String, _ expected: String) {
        let hub = text.split(separator: "\n").map { "    \($0)\n" }.joined()
        #expect(problem("modules:\n  cloudHub:\n" + hub) == expected)
    }

    @Test(
        "a bad file is named with its line",
        arguments: [
            ("a: [1", "c.yaml:2: this is no YAML: did not find expected ',' or ']'"),
            ("a: 1\nb: 2\na: 3", "c.yaml:3: the key 'a' comes twice"), ("a: {B: 1, b: 2}", "c.yaml:1: the key 'b' comes twice"),
            ("a: 1\n---\nb: 2", "c.yaml:2: a second document; the file must hold one"),
            ("a: !!str 1", "c.yaml:1: a tag, which is not read here"), ("<<: {a: 1}", "c.yaml:1: a merge key, which is not read here"),
            ("a: *b", "c.yaml:1: the alias *b has no anchor before it"), ("a: &a [*a]", "c.yaml:1: the alias *a has no anchor before it"),
            ("[a]: 1", "c.yaml:1: a key must be a word"), ("- a", "c.yaml:1: must be a mapping of keys to values"),
            ("kind: ConfigMap\napiVersion: v1", "c.yaml:1: kind: must be CloudCore, not 'ConfigMap'"),
            ("kind: CloudCore", "c.yaml:1: apiVersion: is missing beside kind"),
        ])
    func badFile(_ text: String, _ expected: String) { #expect(problem(text) == expected) }

    @Test("bytes that are no UTF-8 are refused")
    func noText() { #expect(throws: ConfigError.self) { try CloudCoreConfig([0x61, 0x3a, 0x20, 0xff, 0xfe]) } }

    @Test("depth and number of values are bounded, aliases counted as what they stand for")
    func bounds() {
        #expect(problem(String(repeating: "[", count: 100_000)) == "c.yaml:1: nested deeper than 32")
        #expect(problem(String(repeating: "{a: ", count: 100_000)) == "c.yaml:1: nested deeper than 32")
        #expect(problem("a: [" + String(repeating: "1,", count: 20_000) + "]") == "c.yaml:1: more than 20000 values, aliases included")
        var bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
        for (name, before) in zip("bcdefghi", "abcdefgh") {
            bomb += "\(name): &\(name) [" + String(repeating: "*\(before),", count: 9) + "]\n"
        }
        #expect(problem(bomb) == "c.yaml:5: more than 20000 values, aliases included")
    }

    @Test("what means nothing here is told apart from what KubeEdge does not know")
    func leftOver() throws {
        let read = try config(
            """
            commonConfig: {tunnelPort: 10351}
            modules:
              edgeController: {enable: true, anything: 1}
              cloudHub:
                writeTimeout: 30
                nodeLimits: 5
                quic: {enable: true}
                https: {prot: 1}
              cloudhub2: {}
            """)
        let ignored = ["modules.cloudHub.writeTimeout", "modules.cloudHub.quic", "commonConfig", "modules.edgeController"]
        #expect(read.ignored.map(\.key) == ignored)
        #expect(read.ignored.contains { $0.reason == "the hub has no QUIC server: nodes that use it must change to WebSocket" })
        let unknown = ["8 modules.cloudHub.https.prot", "6 modules.cloudHub.nodeLimits", "9 modules.cloudhub2"]
        #expect(read.unknown.map { "\($0.line) \($0.key)" } == unknown)
    }
}
