// The scanner of lines and what both dispatchers make of them.
//
// Checked for every input: what is accepted is accepted again after each rewriting; a rewritten line has the bytes of `content` that
// came in; the scanner accepts nothing that Foundation refuses.

internal import Foundation
internal import HubDispatch
internal import HubMessage

struct LineTarget: FuzzTarget {
    static let name = "line"
    static let summary = "message scanner, rewriting by both dispatchers"
    static let maxLength = 4096

    func run(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.contains(0x0a), let line = try? unsafe Line.scan(bytes) else { return }
        require(unsafe Self.isObject(bytes), "Foundation refuses what the scanner accepts")
        _ = line.string(line.index.route.resource) + line.string(line.index.header.messageID)
        let content = unsafe [UInt8](line.raw(line.index.content.value))
        func check(_ output: [UInt8], _ what: String) {
            requireLine(output, what) {
                require(unsafe [UInt8]($0.raw($0.index.content.value)) == content, "\(what): the content has changed")
            }
        }
        var output: [UInt8] = []
        var down = DownstreamDispatcher()
        if case .forwarded = down.dispatch(line, to: &output) { check(output, "down") }

        var up = UpstreamDispatcher()
        if case .out(let module, let prefixed) = up.route(line) {
            output = []
            UpstreamDispatcher.appendOut(line, module, prefixed: prefixed, to: &output)
            check(output, "up")
        }
        output = []
        line.appendFrame(to: &output)
        check(output, "frame")
    }

    func seeds(_ lines: [[UInt8]]) -> [[UInt8]] { lines }

    private static func isObject(_ bytes: UnsafeRawBufferPointer) -> Bool {
        // Foundation holds numbers as doubles and decimals, nests less deep, and wants surrogates in pairs: those it may refuse.
        if unsafe bytes.contains(where: { (0x30...0x39).contains($0) }) || TokenTarget.hasSurrogateEscape(bytes)
            || bytes.reduce(0, { $0 + ($1 == 0x5b || $1 == 0x7b ? 1 : 0) }) > 400
        {
            return true
        }
        return (try? JSONSerialization.jsonObject(with: unsafe Data(bytes))) != nil
    }
}
