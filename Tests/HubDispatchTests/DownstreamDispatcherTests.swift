import HubMessage
import Testing

@testable import HubDispatch

/// One plain message; `nil` leaves a member out.
private func message(
    source: String = "edgecontroller", group: String = "resource", operation: String = "update", _ resource: String,
    id: String? = "m", version: String? = "10", parent: String? = nil,
    content: String = #"{"kind":"K","apiVersion":"v1","metadata":{"uid":"u","name":"n"}}"#
) -> String {
    let header = [("msg_id", id), ("resourceversion", version), ("parent_msg_id", parent)].compactMap { name, value in
        value.map { #""\#(name)":"\#($0)""# }
    }
    return
        #"{"header":{\#(header.joined(separator: ","))},"route":{"source":"\#(source)","group":"\#(group)","operation":"\#(operation)","resource":"\#(resource)"},"content":\#(content)}"#
}

private func dispatch(_ text: String) -> (outcome: DownstreamDispatcher.Outcome, line: String) {
    unsafe Array(text.utf8).withUnsafeBytes { bytes in
        var output: [UInt8] = []
        var dispatcher = DownstreamDispatcher()
        do throws(MessageError) {
            let outcome = dispatcher.dispatch(try unsafe Line.scan(bytes), to: &output)
            return (outcome, String(decoding: output, as: UTF8.self))
        } catch {
            return (.refused("scan: \(error)"), "")
        }
    }
}

private func scanError(_ line: String) -> MessageError? {
    unsafe Array(line.utf8.dropLast()).withUnsafeBytes { bytes in
        do throws(MessageError) {
            try unsafe Line.scan(bytes).checkEnvelope()
            return nil
        } catch { return error }
    }
}

@Suite("hub-dispatch down")
struct DownstreamDispatcherTests {
    @Test("makes room for a resource of nothing but escapes, which the envelope repeats", arguments: [0, 1, 50, 3000])
    func escapes(_ count: Int) {
        let odd = String(repeating: #"\u0001"#, count: count)
        for content in [#"{"metadata":{}}"#, #"{"kind":"K","apiVersion":"v1","metadata":{"uid":"u","name":"n"}}"#] {
            let (outcome, line) = dispatch(message(operation: "delete", "node/n/\(odd)/\(odd)/\(odd)", content: content))
            #expect(outcome == .forwarded)
            #expect(line.contains(#""namespace":"\#(odd)","name":"\#(odd)""#) || count == 0)
            #expect(scanError(line) == nil)
        }
    }

    @Test(
        "sends these at most once",
        arguments: [
            message(source: "x", "node/n/membership/a"), message(source: "x", "node/n/default/podlist/a"),
            message(source: "x", "node/n/default/serviceaccounttoken/a"), message(source: "x", "node/n/default/event/a"),
            message(source: "x", "node/n/k8s/ca.crt"), message(source: "x", "node/n/device/d/twin/cloud_updated"),
            message(source: "x", operation: "createvolume", "node/n/ns/volume/v"),
            message(source: "x", operation: "deletevolume", "node/n/a/b"),
            message(source: "x", operation: "controllerpublishvolume", "node/n/a/b"),
            message(source: "x", operation: "controllerunpublishvolume", "node/n/a/b"),
            message(source: "x", operation: "applicationResponse", "node/n/a/b"), message(source: "x", group: "user", "node/n/a/b"),
            message(source: "taskmanager", "upgrade/id/node/n"), message(source: "nodeupgradejobcontroller", "node/n/x"),
            message(source: "x", operation: "response", "node/n/a/pod/b", content: #""OK""#),
            message(operation: "response", "node/n/a/lease/b"), message("node/n/a/nodepatch/b"), message("node/n/a/podpatch/b"),
            message("node/n/a/podstatus/b"), message("node/n/a/certificatesigningrequest/b"),
            message(operation: "insert", "node/n/a/node/b"),
            message(operation: "response", "node/n/a/pod/b"),
        ])
    func once(_ text: String) {
        let (outcome, line) = dispatch(text)
        #expect(outcome == .forwarded)
        #expect(line.hasPrefix(#"{"hub":{"kind":"once","node":"n"},"header""#), "\(line)")
    }

    @Test(
        "has these acknowledged",
        arguments: [
            message("node/n/default/configmap/membership"), message("node/n/default/configmap/podlist"), message("node/n/a/node/b"),
            message(operation: "insert", "node/n/a/pod/b"), message(source: "x", "node/n/a/lease/b"),
            message(operation: "delete", "node/n/a/pod/b", version: nil), message(operation: "response", "node/n/a/configmap/b"),
            message("node/n/a/configmap/b/twin/cloud_updated_not"),
        ])
    func acknowledged(_ text: String) {
        let (outcome, line) = dispatch(text)
        #expect(outcome == .forwarded)
        #expect(line.hasPrefix(#"{"hub":{"kind":"ack","node":"n","key":"u""#), "\(line)")
    }

    @Test("writes the whole envelope and nothing else")
    func envelope() {
        let (_, line) = dispatch(message(operation: "response", "node/n/ns/configmap/cm", parent: "q"))
        #expect(
            line
                == #"{"hub":{"kind":"ack","node":"n","key":"u","version":"10","reply":true,"object":{"apiVersion":"v1","kind":"K","namespace":"ns","name":"cm"}},"#
                + String(message(operation: "response", "ns/configmap/cm", parent: "q").dropFirst()) + "\n")
    }

    @Test("forces deletes and objects that are being deleted, and names them by path without a uid")
    func force() {
        let deleting = dispatch(message("node/n/ns/pod/p", version: nil, content: #"{"metadata":{"uid":"u","deletionTimestamp":"2026"}}"#))
        #expect(
            deleting.line.contains(#""key":"u","force":true,"object":{"apiVersion":"","kind":"pod","namespace":"ns","name":"p"}"#),
            "\(deleting)")
        let bare = dispatch(message(operation: "delete", "node/n/ns/pod/p", version: "3", content: "null"))
        #expect(bare.line.contains(#""key":"ns/pod/p","version":"3","force":true"#), "\(bare)")
        let notDeleting = dispatch(message("node/n/ns/pod/p", content: #"{"metadata":{"uid":"u","deletionTimestamp":null}}"#))
        #expect(!notDeleting.line.contains("force"))
    }

    @Test(
        "refuses what could never be delivered or acknowledged",
        arguments: [
            (message("default/configmap/a"), "names no node"), (message("node"), "names no node"), (message("node//a/b"), "names no node"),
            (message("node/Edge/a/b"), "RFC 1123"), (message("node/n/a/configmap/b", id: nil), "msg_id"),
            (message("node/n/a/configmap/b", id: ""), "msg_id"),
            (message("node/n/a/configmap/b", version: nil), "resourceversion"), (message("node/n/a/configmap/b", version: "1x"), "decimal"),
            (message("node/n/a/configmap/b", version: "-1"), "decimal"), (message(group: "twin", "node/n/a/configmap/b"), "group"),
            (message(operation: "patch", "node/n/a/configmap/b"), "insert, update, delete"),
            (message("node/n/a/configmap/b", content: #""text""#), "uid"), (message("node/n/a/configmap/b", content: "[]"), "uid"),
            (message("node/n/a/configmap/b", content: #"{"metadata":{"uid":""}}"#), "uid"),
            // Found by bin/fuzz: the key would have been empty, and the next stage refuses that.
            (message(operation: "delete", "node/n/", content: "1"), "uid"),
        ])
    func refused(_ text: String, _ reason: String) {
        guard case .refused(let given) = dispatch(text).outcome else {
            Issue.record("taken: \(dispatch(text))")
            return
        }
        #expect(given.contains(reason), "\(given)")
        #expect(dispatch(text).line.isEmpty)
    }

    @Test(
        "keeps messages between cloud modules from edges",
        arguments: [
            ("get", "membership"), ("delta", "device/d/twin"), ("document", "device/d/twin"), ("get", "auth_info"), ("deleted", "node"),
        ])
    func skipped(_ operation: String, _ path: String) {
        #expect(dispatch(message(source: "edgemgr", operation: operation, "node/n/\(path)")).outcome == .skipped)
        #expect(dispatch(message(source: "other", operation: operation, "node/n/\(path)")).outcome != .skipped)
    }

    @Test("cuts only the prefix node/<node>/")
    func prefix() {
        #expect(dispatch(message(source: "taskmanager", "upgrade/id/node/n")).line.contains(#""resource":"upgrade/id/node/n""#))
        #expect(dispatch(message(source: "taskmanager", "node/n")).line.contains(#""resource":"node/n""#))
        #expect(dispatch(message(source: "taskmanager", "node/n/a/node/b")).line.contains(#""resource":"a/node/b""#))
    }

    @Test("passes inner lines unchanged once their envelope is checked")
    func inner() {
        let good = #"{"hub":{"kind":"once","node":"n","x":1},"header":{},"route":{}}"#
        #expect(dispatch(good).line == good + "\n")
        #expect(dispatch(#"{"hub":{"kind":"once","node":"N"},"header":{},"route":{}}"#).outcome == .refused("bad envelope node at byte 0"))
    }
}
