// A KubeEdge `cloudcore.yaml` as options of the hub's programs.
//
// Keys and units are those of KubeEdge v1.23.1 (componentconfig/cloudcore/v1alpha1 types.go, default.go), how CloudHub uses them is read
// from cloud/pkg/cloudhub. What the file does not say stays the hub's own default, with one exception: where `authorization.enable` is
// true, `debug` and `modes` count as KubeEdge's defaults, for they decide whether messages are refused or only logged.

package struct CloudCoreConfig: Sendable, Equatable {
    /// An option of one program.
    package struct Use: Sendable, Equatable {
        package let program: String
        package let option: String
    }

    /// What keys of the file say.
    package struct Setting: Sendable, Equatable {
        /// As in `HUB_…`, in kebab case.
        package let variable: String
        /// One, or as many as a list has.
        package let values: [String]
        package let uses: [Use]
        package let keys: [String]
        /// Of the first of the keys.
        package let line: Int
    }

    /// A key that says nothing to the hub.
    package struct Ignored: Sendable, Equatable {
        package let key: String
        package let line: Int
        package let reason: String
    }

    package private(set) var settings: [Setting] = []
    package private(set) var ignored: [Ignored] = []
    /// Keys that KubeEdge does not know either: perhaps misspelt.
    package private(set) var unknown: [Ignored] = []

    /// - Parameter bytes: the whole file.
    package init(_ bytes: [UInt8]) throws(ConfigError) {
        let file = try ConfigSection(try YAMLDocument.read(bytes), path: "")
        try checkKind(file)
        let modules = try file.section("modules")
        try readCloudHub(try modules.section("cloudHub"))
        for (key, reason) in Self.otherParts where file.has(key) { ignore(file, key, reason) }
        for module in Self.otherModules where modules.has(module) {
            ignore(modules, module, "another module of CloudCore, which is no part of the hub")
        }
        report(unknownIn: file)
        report(unknownIn: modules)
    }

    private func checkKind(_ file: ConfigSection) throws(ConfigError) {
        let kind = try file.text("kind", "CloudCore") { $0 == "CloudCore" }
        let version = try file.text("apiVersion", "cloudcore.config.kubeedge.io/v1alpha1 or a later version") {
            $0.hasPrefix("cloudcore.config.kubeedge.io/")
        }
        guard kind == nil || version != nil else { throw ConfigError(line: file.line("kind"), key: "apiVersion", "is missing beside kind") }
    }

    private mutating func readCloudHub(_ hub: ConfigSection) throws(ConfigError) {
        if try hub.truth("enable") == false {
            throw ConfigError(line: hub.line("enable"), key: hub.name("enable"), "must not be false: CloudHub is what the hub is")
        }
        try readServers(hub)
        try readNumbers(hub)
        try readCertificates(hub)
        try readAuthorization(hub)
        if try hub.integer("writeTimeout", 0...Int64(Int32.max), unit: "seconds") != nil {
            ignore(hub, "writeTimeout", "CloudHub reads it nowhere; hub-wsserve closes a node that takes nothing after --stall seconds")
        }
        let quic = try hub.section("quic")
        let unix = try hub.section("unixsocket")
        if hub.has("quic") {
            let advice = try quic.truth("enable") == true ? ": nodes that use it must change to WebSocket" : ""
            ignore(hub, "quic", "the hub has no QUIC server\(advice)")
        }
        if hub.has("unixsocket") {
            _ = try unix.truth("enable")
            ignore(hub, "unixsocket", "for the CSI driver; the hub writes what is for it to standard output, or where --to csi=PATH says")
        }
        report(unknownIn: hub)
    }

    // MARK: Keys that are options

    private mutating func readServers(_ hub: ConfigSection) throws(ConfigError) {
        let webSocket = try hub.section("websocket")
        if try webSocket.truth("enable") == false {
            throw ConfigError(
                line: webSocket.line("enable"), key: webSocket.name("enable"), "must not be false: the hub has no other server for nodes")
        }
        try readAddress(webSocket, port: 10_000, "listen", Use(program: "hub-wsserve", option: "--listen"))
        let https = try hub.section("https")
        if try https.truth("enable") != nil {
            ignore(https, "enable", "CloudHub reads it nowhere and serves HTTPS; 'hub run --certs-listen none' leaves that part out")
        }
        try readAddress(https, port: 10_002, "certs-listen", Use(program: "hub-certs serve", option: "--listen"))
        report(unknownIn: webSocket)
        report(unknownIn: https)
    }

    private mutating func readAddress(
        _ server: ConfigSection, port defaultPort: Int64, _ variable: String, _ use: Use
    ) throws(ConfigError) {
        let address = try server.text("address", "an IP address", HostName.isAddress)
        let port = try server.integer("port", 1...65_535)
        guard address != nil || port != nil else { return }
        let host = address ?? "0.0.0.0"
        let keys = [address.map { _ in server.name("address") }, port.map { _ in server.name("port") }].compactMap { $0 }
        set(
            variable, ["\(host.contains(":") ? "[\(host)]" : host):\(port ?? defaultPort)"], [use], keys,
            server.line(address == nil ? "port" : "address"))
    }

    private mutating func readNumbers(_ hub: ConfigSection) throws(ConfigError) {
        let certs = "hub-certs serve"
        for (key, variable, range, unit, uses) in [
            ("keepaliveInterval", "timeout", 1...999_999_999, "seconds", [Use(program: "hub-keepalive", option: "--timeout")]),
            ("nodeLimit", "node-limit", 1...Int64(Int32.max), "nodes", [Use(program: "hub-wsserve", option: "--node-limit")]),
            ("edgeCertSigningDuration", "edge-days", 1...36_400, "days", [Use(program: certs, option: "--edge-days")]),
            ("tokenRefreshDuration", "token-refresh", 1...87_600, "hours", [Use(program: "hub-certs", option: "--token-refresh")]),
        ] as [(String, String, ClosedRange<Int64>, String, [Use])] {
            guard let value = try hub.integer(key, range, unit: unit) else { continue }
            set(variable, ["\(value)"], uses, [hub.name(key)], hub.line(key))
        }
    }

    private mutating func readCertificates(_ hub: ConfigSection) throws(ConfigError) {
        for (key, variable, programs) in [
            ("tlsCAFile", "ca", ["hub-wsserve", "hub-certs"]), ("tlsCAKeyFile", "ca-key", ["hub-certs"]),
            ("tlsCertFile", "cert", ["hub-wsserve", "hub-certs"]), ("tlsPrivateKeyFile", "key", ["hub-wsserve", "hub-certs"]),
        ] {
            guard let path = try hub.text(key, "the path of a file", { !$0.contains("\0") }) else { continue }
            set(variable, [path], programs.map { Use(program: $0, option: "--\(variable)") }, [hub.name(key)], hub.line(key))
        }
        let names = [
            ("advertiseAddress", "advertise", "an IP address", HostName.isAddress), ("dnsNames", "dns", "a DNS name", HostName.isName),
        ]
        for (key, variable, what, isGood) in names {
            let values = try hub.texts(key, what, isGood)
            guard !values.isEmpty else { continue }
            set(variable, values, [Use(program: "hub-certs prepare", option: "--\(variable)")], [hub.name(key)], hub.line(key))
        }
    }

    /// CloudHub allows everything unless `enable` is true and a mode is on; with `debug` it logs what it would refuse.
    private mutating func readAuthorization(_ hub: ConfigSection) throws(ConfigError) {
        let authorization = try hub.section("authorization")
        let isEnabled = try authorization.truth("enable") ?? false
        let isDebug = try authorization.truth("debug") ?? true
        var hasNodeMode = true
        if let modes = try authorization.sections("modes") {
            hasNodeMode = false
            for mode in modes {
                let node = try mode.section("node")
                let isOn = try node.truth("enable") ?? true
                if mode.has("node"), isOn { hasNodeMode = true }
                report(unknownIn: mode)
                report(unknownIn: node)
            }
        }
        report(unknownIn: authorization)
        guard hub.has("authorization") else { return }
        let keys = [hub.name("authorization")]
        let line = hub.line("authorization")
        let isOn = isEnabled && hasNodeMode
        set("policy", [isOn ? "node" : "open"], [Use(program: "hub-dispatch up", option: "--policy")], keys, line)
        if isOn {
            set("policy-dry-run", ["\(isDebug)"], [Use(program: "hub-dispatch up", option: "--policy-dry-run")], keys, line)
        }
    }

    private mutating func set(_ variable: String, _ values: [String], _ uses: [Use], _ keys: [String], _ line: Int) {
        settings.append(Setting(variable: variable, values: values, uses: uses, keys: keys, line: line))
    }

    // MARK: Keys that are none

    private mutating func ignore(_ section: ConfigSection, _ key: String, _ reason: String) {
        ignored.append(Ignored(key: section.name(key), line: section.line(key), reason: reason))
    }

    private mutating func report(unknownIn section: ConfigSection) {
        unknown += section.left.map { Ignored(key: $0.key, line: $0.line, reason: "KubeEdge has no such key") }
    }

    private static let otherParts = [
        ("commonConfig", "CloudCore's tunnel port and monitor server, which the hub does not have"),
        ("kubeAPIConfig", "the hub does not talk to the Kubernetes API"),
        ("featureGates", "the hub has none"),
        ("leaderelection", "of older CloudCores; a hub is one process per stage on one machine"),
    ]

    private static let otherModules = [
        "edgeController", "deviceController", "taskManager", "imagePrePullController", "nodeUpgradeJobController", "syncController",
        "dynamicController", "cloudStream", "router", "iptablesManager",
    ]
}
