// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: ["HubCommand", "HubMessage", "HubPipe", arguments, logging] + dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

let package = Package(
    name: "hub",
    products: [],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    ],
    targets: [
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "COpenSSLSystem", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(name: "COpenSSL", dependencies: ["COpenSSLSystem"]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .target(name: "CHubSystem"),

        library("HubMessage"),
        library("HubPipe", ["HubMessage", "CHubSystem"]),
        library("HubConfig", ["HubMessage", "CYAML"]),
        library("HubCommand", ["HubConfig", "HubPipe", arguments, logging]),
        library("HubDispatch", ["HubMessage"]),
        library("HubQueue", ["HubMessage"]),
        library("HubKeepalive", ["HubMessage"]),
        library("HubReplay", ["HubMessage"]),
        library("HubStore", ["HubMessage", "CSQLite"]),
        library("HubDelivery", ["HubMessage", "HubPipe", "HubQueue", "HubStore"]),
        library("HubTLS", ["COpenSSL", nioCore]),
        library("HubAccept", [nioCore]),
        library("HubTrust", ["HubMessage", "HubTLS"]),
        library("HubServe", ["HubAccept", "HubPipe", "HubTLS", "HubTrust", "HubMessage", nioCore, nioPosix, nioHTTP, nioWebSocket]),
        library("HubCerts", ["HubAccept", "HubMessage", "HubPipe", "HubTLS", "HubTrust", nioCore, nioPosix, nioHTTP]),
        library("HubSwarm", ["HubMessage", "HubPipe", "HubTLS", nioCore, nioPosix, nioHTTP]),

        program("hub-dispatch", ["HubDispatch"]),
        program("hub-queue", ["HubDelivery", "HubQueue", "HubStore"]),
        program("hub-keepalive", ["HubKeepalive"]),
        program("hub-wsserve", ["HubServe", "HubTLS", "HubTrust"]),
        program("hub-certs", ["HubCerts", "HubTLS", "HubTrust"]),
        program("hub-record", []),
        program("hub-replay", ["HubReplay"]),
        program("hub-service", ["HubConfig"]),
        program("hub-swarm", ["HubSwarm", nioCore, nioPosix]),

        tests("HubMessageTests", ["HubMessage"]),
        tests("HubPipeTests", ["HubPipe", "CHubSystem"]),
        tests("HubConfigTests", ["HubConfig"]),
        tests("HubCommandTests", ["HubCommand", logging]),
        tests("HubDispatchTests", ["HubDispatch", "HubMessage"]),
        tests("HubQueueTests", ["HubQueue", "HubStore", "HubMessage"]),
        tests("HubDeliveryTests", ["HubDelivery", "HubMessage", "HubPipe", "HubQueue", "HubStore", "CSQLite"]),
        tests("HubKeepaliveTests", ["HubKeepalive", "HubMessage"]),
        tests("HubReplayTests", ["HubReplay", "HubMessage"]),
        tests("HubAcceptTests", ["HubAccept", nioCore]),
        tests("HubTLSTests", ["HubTLS", "HubCerts", "HubMessage", "HubPipe", "HubTrust", nioCore]),
        tests("HubServeTests", ["HubServe", "HubMessage", "HubTLS", "HubTrust", nioCore]),
        tests("HubSwarmTests", ["HubSwarm", "HubMessage", "HubTLS", nioCore]),
    ],
    swiftLanguageModes: [.v6]
)

// Needs libFuzzer, so only `bin/fuzz` builds it.
if Context.environment["HUB_FUZZ"] != nil {
    package.targets += [
        .executableTarget(
            name: "hub-fuzz", dependencies: ["HubCerts", "HubDispatch", "HubMessage", "HubServe", "HubTLS"], path: "Tests/Fuzz",
            exclude: ["Corpus"], swiftSettings: strict)
    ]
}
