// libFuzzer target for the line scanner and what is built on it. Run by `bin/fuzz SECONDS`.
// It is compiled into one module with Sources/HubMessage and Sources/HubDispatch, so nothing is imported from the package.
//
// Checked for every input: no crash or out-of-bounds read (address sanitizer); what is accepted is accepted again after each
// rewriting; a rewritten line has the bytes of `content` that came in; the scanner and Foundation agree on what is JSON.

import Foundation

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzLine(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    // A copy of exactly this size: the sanitizer sees a read past its end.
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 1)
    defer { copy.deallocate() }
    copy.copyMemory(from: UnsafeRawBufferPointer(start: data, count: size))
    let bytes = UnsafeRawBufferPointer(start: copy.baseAddress, count: size)
    guard !bytes.contains(0x0a), let line = try? Line.scan(bytes) else { return 0 }
    require(isObject(bytes), "Foundation refuses what the scanner accepts")
    _ = line.string(line.index.route.resource) + line.string(line.index.header.messageID)
    let content = [UInt8](line.raw(line.index.content.value))

    var output: [UInt8] = []
    var down = DownstreamDispatcher()
    if case .forwarded = down.dispatch(line, to: &output) { check(output, content) }

    output = []
    line.appendWithSessionIfInner(to: &output)
    if !output.isEmpty { check(output, content) }

    var up = UpstreamDispatcher()
    if case .out(let module, let prefixed) = up.route(line) {
        output = []
        up.appendOut(line, module, prefixed: prefixed, to: &output)
        check(output, content)
    }
    return 0
}

extension Line {
    fileprivate func appendWithSessionIfInner(to output: inout [UInt8]) {
        if isInner, index.hub.kind.isPresent { appendWithSession(7, to: &output) }
    }
}

/// `output` is one line, a message, with this content.
private func check(_ output: [UInt8], _ content: [UInt8]) {
    require(output.last == 0x0a, "no newline at the end")
    output.dropLast().withUnsafeBytes { bytes in
        guard let line = try? Line.scan(bytes) else {
            require(false, "a rewritten line is refused")
            return
        }
        require([UInt8](line.raw(line.index.content.value)) == content, "the content has changed")
    }
}

private func isObject(_ bytes: UnsafeRawBufferPointer) -> Bool {
    // Foundation holds numbers as doubles and decimals, nests less deep, and wants surrogates in pairs: those it may refuse.
    if bytes.contains(where: { (0x30...0x39).contains($0) }) || hasSurrogateEscape(bytes)
        || bytes.reduce(0, { $0 + ($1 == 0x5b || $1 == 0x7b ? 1 : 0) }) > 400
    {
        return true
    }
    return (try? JSONSerialization.jsonObject(with: Data(bytes))) != nil
}

private func hasSurrogateEscape(_ bytes: UnsafeRawBufferPointer) -> Bool {
    zip(bytes, bytes.dropFirst()).contains { $0 == 0x75 && $1 | 0x20 == 0x64 }
}

private func require(_ holds: Bool, _ message: String) {
    if !holds {
        FileHandle.standardError.write(Data((message + "\n").utf8))
        abort()
    }
}
