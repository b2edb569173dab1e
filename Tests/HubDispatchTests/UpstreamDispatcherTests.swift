import HubMessage
import Testing

@testable import HubDispatch

private func up(_ source: String, _ operation: String, _ resource: String, group: String = "resource") -> String {
    #"{"hub":{"kind":"up","node":"n","session":5},"header":{"msg_id":"m","parent_msg_id":"p"},"route":{"source":"\#(source)","group":"\#(group)","operation":"\#(operation)","resource":"\#(resource)"},"content":1}"#
}

private func event(_ name: String, again: Bool = false) -> String {
    #"{"hub":{"kind":"event","node":"n","session":5,"event":"\#(name)","again":\#(again)},"header":{"msg_id":"m","parent_msg_id":"p"},"route":{"operation":"\#(name)","resource":"node/n"}}"#
}

private func route(_ text: String, certificate: [UInt8]? = nil) throws -> (route: UpstreamDispatcher.Route, out: String) {
    unsafe try Array(text.utf8).withUnsafeBytes { bytes in
        let line = try unsafe Line.scan(bytes)
        var dispatcher = UpstreamDispatcher(certificate: certificate)
        let route = dispatcher.route(line)
        var output: [UInt8] = []
        if case .out(let module, let prefixed) = route { UpstreamDispatcher.appendOut(line, module, prefixed: prefixed, to: &output) }
        if route == .both { UpstreamDispatcher.appendOut(line, .edgecontroller, prefixed: false, to: &output) }
        if route == .certificateAuthority { dispatcher.appendCertificate(for: line, time: 5_000_000, to: &output) }
        return (route, String(decoding: output, as: UTF8.self))
    }
}

@Suite("hub-dispatch up")
struct UpstreamDispatcherTests {
    @Test(
        "follows the table, first match first",
        arguments: [
            (up("websocket", "keepalive", "node"), UpstreamDispatcher.Route.drop),
            (up("x", "response", "ns_1/volume/pvc-1"), .out(.csi, prefixed: false)),
            (up("edgecontroller", "response", "default/pod/p"), .feedback),
            (up("edgecontroller", "error", "default/pod/p"), .refusalOfNode),
            (up("x", "upload", "rule", group: "user"), .out(.router, prefixed: true)),
            (up("x", "upload", "rule"), .out(.edgecontroller, prefixed: true)),
            (up("x", "prepull", "task"), .out(.taskmanager, prefixed: false)),
            (up("x", "upgrade", "task"), .out(.taskmanager, prefixed: false)),
            (up("x", "UpdateNodeActionStatus", "task"), .out(.taskmanager, prefixed: false)),
            (up("metaserver", "query", "a"), .out(.dynamiccontroller, prefixed: true)),
            (up("twin", "updated", "a"), .out(.devicecontroller, prefixed: true)),
            (up("edged", "update", "a"), .out(.edgecontroller, prefixed: true)),
            (up("meta", "query", "k8s/ca.crt"), .out(.edgecontroller, prefixed: true)),
            (event("connected"), .both), (event("disconnected"), .both), (event("connected", again: true), .feedback),
            (event("live"), .feedback),
            (event("reset"), .feedback),
        ])
    func table(_ text: String, _ expected: UpstreamDispatcher.Route) throws {
        #expect(try route(text).route == expected)
    }

    @Test(
        "a node may not speak for the cloud",
        arguments: ["cloudhub", "cloudStream", "devicecontroller", "edgecontroller", "synccontroller"])
    func impostor(_ source: String) throws {
        guard case .refused = try route(up(source, "update", "a")).route else {
            Issue.record("taken")
            return
        }
    }

    @Test("writes the plain form")
    func plain() throws {
        #expect(
            try route(up("edged", "update", "default/podstatus/p")).out
                == #"{"header":{"msg_id":"m","parent_msg_id":"p"},"route":{"destination":"edgecontroller","source":"edged","group":"resource","operation":"update","resource":"node/n/default/podstatus/p"},"content":1}"#
                + "\n")
        #expect(try route(up("x", "upgrade", "node/n/t")).out.contains(#""resource":"node/n/t""#))
        #expect(
            try route(event("connected")).out
                == #"{"header":{"msg_id":"m","parent_msg_id":"p"},"route":{"destination":"edgecontroller","operation":"connected","resource":"node/n"}}"#
                + "\n")
    }

    @Test("answers for k8s/ca.crt when it has the certificate")
    func certificate() throws {
        let (decision, line) = try route(up("meta", "query", "k8s/ca.crt"), certificate: Array("A\nB".utf8))
        #expect(decision == .certificateAuthority)
        #expect(line.hasPrefix(#"{"hub":{"kind":"once","node":"n"},"header":{"msg_id":""#))
        #expect(line.contains(#""parent_msg_id":"m""#) && line.contains(#""resource":"k8s/ca.crt"},"content":"A\u000aB"}"#))
        #expect(scans(line))
    }

    private func scans(_ line: String) -> Bool {
        unsafe Array(line.utf8.dropLast()).withUnsafeBytes { bytes in
            do throws(MessageError) {
                _ = try unsafe Line.scan(bytes)
                return true
            } catch { return false }
        }
    }

    @Test("takes a recording of its own output, and refuses a plain line without a node")
    func recorded() throws {
        let plain = #"{"header":{},"route":{"source":"edged","operation":"update","resource":"node/n/a"}}"#
        #expect(
            try route(plain).out
                == #"{"header":{},"route":{"destination":"edgecontroller","source":"edged","operation":"update","resource":"node/n/a"}}"#
                + "\n")
        guard case .refused = try route(#"{"header":{},"route":{"source":"edged","operation":"update","resource":"a"}}"#).route else {
            Issue.record("taken")
            return
        }
    }

    @Test(
        "knows the resources of volumes",
        arguments: [
            ("a/volume/b", true), ("a-b.c+d/volume/b-c", true), ("a/volume/b/c", true), ("/volume/b", false), ("-a/volume/b", false),
            ("a/volume/", false),
            ("a/volume/-b", false), ("x/a/volume/b", false), ("a/volumes/b", false),
        ])
    func volumes(_ resource: String, _ expected: Bool) {
        #expect(unsafe Array(resource.utf8).withUnsafeBytes { unsafe UpstreamDispatcher.isVolume($0) } == expected)
    }
}
