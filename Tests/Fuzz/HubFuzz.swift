// The fuzz targets of the hub in one program, which `bin/fuzz` builds and runs. It is not part of the package unless HUB_FUZZ is set,
// because it needs libFuzzer.
//
//     hub-fuzz TARGET [LIBFUZZER-OPTION…] [CORPUS…]
//     hub-fuzz --list
//     hub-fuzz --seeds DIRECTORY FILE…      writes DIRECTORY/corpus-TARGET/seed-NUMBER, from recorded messages, one per line

internal import Foundation

/// libFuzzer's main function calls this first. The name of the target goes from the arguments to the environment, because libFuzzer, when
/// it merges corpora, starts this program again with the arguments that are left.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<CInt>, _ list: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>
) -> CInt {
    HubFuzz.prepare()
    guard let name = CommandLine.arguments.dropFirst().first, HubFuzz.targets.contains(where: { $0.name == name }) else { return 0 }
    unsafe setenv(HubFuzz.variable, name, 1)
    unsafe list.pointee[1] = unsafe list.pointee[0]
    unsafe list.pointee += 1
    unsafe count.pointee -= 1
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func runOneInput(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    unsafe HubFuzz.run(UnsafeRawBufferPointer(start: bytes, count: size))
    return 0
}

enum HubFuzz {
    static let targets: [any FuzzTarget.Type] = [
        LineTarget.self, EnvelopeTarget.self, RouteTarget.self, RequestTarget.self, CSRTarget.self, TokenTarget.self, FrameTarget.self,
    ]

    static let variable = "HUB_FUZZ_TARGET"

    /// Made once.
    static let current: (any FuzzTarget)? = {
        let names = [CommandLine.arguments.dropFirst().first, ProcessInfo.processInfo.environment[variable]]
        return targets.first { names.contains($0.name) }.flatMap { try? $0.init() }
    }()

    /// Does what is asked for beside fuzzing, and ends the process then.
    static func prepare() {
        func end(_ status: CInt) -> Never {
            fflush(nil)
            // Without the search for leaks: what is in use now has been in use by this function.
            _exit(status)
        }
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            switch arguments.first {
            case "--list":
                for target in targets { print("\(target.name)\t\(target.maxLength)\t\(target.summary)") }
                end(0)
            case "--seeds" where arguments.count >= 2:
                try writeSeeds(arguments[1], try arguments[2...].flatMap(recordedLines))
                end(0)
            default:
                guard current == nil else { return }
                FileHandle.standardError.write(Data("usage: hub-fuzz TARGET [OPTION…] | --list | --seeds DIRECTORY FILE…\n".utf8))
                end(64)
            }
        } catch {
            FileHandle.standardError.write(Data("hub-fuzz: \(error)\n".utf8))
            end(1)
        }
    }

    static func run(_ bytes: UnsafeRawBufferPointer) {
        // A copy of exactly this size: the address sanitizer sees a read past its end.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 1)
        defer { unsafe copy.deallocate() }
        unsafe copy.copyMemory(from: bytes)
        unsafe current?.run(UnsafeRawBufferPointer(start: copy.baseAddress, count: bytes.count))
    }

    private static func recordedLines(_ file: String) throws -> [[UInt8]] {
        try Data(contentsOf: URL(fileURLWithPath: file)).split(separator: 0x0a).map { [UInt8]($0) }
    }

    private static func writeSeeds(_ directory: String, _ lines: [[UInt8]]) throws {
        for target in targets {
            let place = "\(directory)/corpus-\(target.name)"
            try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            for (number, seed) in try target.init().seeds(lines).enumerated() where seed.count <= target.maxLength {
                try Data(seed).write(to: URL(fileURLWithPath: "\(place)/seed-\(number)"))
            }
        }
    }
}
