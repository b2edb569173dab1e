// What a fuzz target is, and what all of them use.
//
// libFuzzer hands over bytes. Where most bytes would be refused at once (a signature, a mask, a JSON frame around one string), the
// target builds the valid part itself and lets the bytes choose the rest, so that what lies behind is reached.

internal import Foundation
internal import HubMessage

/// One parser or decision of the hub, with the properties that hold for every input.
protocol FuzzTarget: Sendable {
    static var name: String { get }
    /// What is fuzzed, for `--list`.
    static var summary: String { get }
    /// Longest input.
    static var maxLength: Int { get }

    init() throws

    /// Runs one input; ends the process when a property does not hold.
    func run(_ bytes: UnsafeRawBufferPointer)

    /// Inputs to begin with. No secret may be among them: they can be committed.
    /// - Parameter lines: recorded messages.
    func seeds(_ lines: [[UInt8]]) throws -> [[UInt8]]
}

/// Ends the process, as a finding, unless `holds`.
func require(_ holds: Bool, _ message: @autoclosure () -> String) {
    if !holds {
        FileHandle.standardError.write(Data("property: \(message())\n".utf8))
        abort()
    }
}

/// The beginning of an input as choices, the rest as text.
@safe struct Choices {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = unsafe bytes }

    /// The next byte, 0 at the end.
    mutating func byte() -> UInt8 {
        guard unsafe at < bytes.count else { return 0 }
        defer { at += 1 }
        return unsafe bytes[at]
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[Int(byte()) % elements.count] }

    /// Up to the next byte 0 or the end.
    mutating func field() -> [UInt8] {
        var field: [UInt8] = []
        while unsafe at < bytes.count {
            let next = byte()
            if next == 0 { break }
            field.append(next)
        }
        return field
    }

    mutating func rest() -> [UInt8] {
        defer { unsafe at = bytes.count }
        return unsafe [UInt8](bytes[at...])
    }
}

/// One line as a message, nil when it is refused.
func withLine<Result>(_ bytes: [UInt8], _ body: (Line) -> Result) -> Result? {
    unsafe bytes.withUnsafeBytes { buffer in
        guard let line = try? unsafe Line.scan(buffer) else { return nil }
        return body(line)
    }
}

/// `output` must be one line, a message.
func requireLine(_ output: [UInt8], _ what: String, _ body: (Line) -> Void) {
    require(output.last == 0x0a && output.dropLast().firstIndex(of: 0x0a) == nil, "\(what): not exactly one line")
    require(withLine(Array(output.dropLast()), body) != nil, "\(what): the line is refused")
}

/// `text` as a JSON string.
func quoted(_ text: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    JSONText.appendString(text, to: &output)
    return output
}
