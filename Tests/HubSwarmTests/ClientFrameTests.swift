import NIOCore
import Testing

@testable import HubSwarm

@Suite("WebSocket frames of a client")
struct ClientFrameTests {
    private func frame(_ opcode: FrameOpcode, _ payload: [UInt8], mask: UInt32, expecting size: Int = 512) -> [UInt8] {
        var buffer = ByteBuffer(bytes: [0xaa, 0xbb])
        ClientFrame.append(opcode, mask: mask, to: &buffer, expecting: size) { $0.writeBytes(payload) }
        #expect(buffer.readableBytesView.prefix(2).elementsEqual([0xaa, 0xbb]))
        return Array(buffer.readableBytesView.dropFirst(2))
    }

    private func parse(_ bytes: [UInt8], limit: Int = 1 << 20) throws(FrameHead.Violation) -> FrameHead? {
        let result: Result<FrameHead?, FrameHead.Violation> = unsafe bytes.withUnsafeBytes { raw in
            do throws(FrameHead.Violation) { return .success(try unsafe FrameHead.parse(raw, limit: limit)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    @Test("the example of RFC 6455, 5.7: a masked Hello")
    func example() {
        #expect(
            frame(.text, Array("Hello".utf8), mask: 0x37fa_213d) == [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58])
    }

    @Test(
        "any length has its shortest head, whatever was expected, and unmasks to what was written",
        arguments: [0, 1, 3, 4, 5, 7, 8, 9, 125, 126, 127, 271, 65_535, 65_536, 70_001], [0, 125, 126, 512, 65_535, 65_536])
    func lengths(count: Int, expected: Int) {
        let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let bytes = frame(.binary, payload, mask: 0x0102_0304, expecting: expected)
        let head = count < 126 ? 2 : count < 65_536 ? 4 : 10
        #expect(bytes.count == head + 4 + count)
        #expect(bytes[0] == 0x82)
        #expect(bytes[1] == 0x80 | UInt8(count < 126 ? count : count < 65_536 ? 126 : 127))
        var length = 0
        for byte in bytes[2..<head] { length = length << 8 | Int(byte) }
        #expect(head == 2 || length == count)
        #expect(Array(bytes[head..<head + 4]) == [1, 2, 3, 4])
        let key: [UInt8] = [1, 2, 3, 4]
        #expect(bytes[(head + 4)...].enumerated().allSatisfy { $0.element ^ key[$0.offset & 3] == payload[$0.offset] })
    }

    @Test("heads of a server", arguments: [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (1 << 20, 10)])
    func heads(length: Int, headLength: Int) throws {
        var bytes: [UInt8] = [0x81]
        switch headLength {
        case 2: bytes.append(UInt8(length))
        case 4: bytes += [126, UInt8(length >> 8), UInt8(length & 255)]
        default: bytes += [127] + (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * $0)) }
        }
        for count in 0..<bytes.count { #expect(try parse(Array(bytes[..<count])) == nil) }
        #expect(try parse(bytes) == FrameHead(isFinal: true, opcode: .text, headLength: headLength, payloadLength: length))
    }

    @Test(
        "what a server may not send is refused",
        arguments: [
            ([0xc1, 0], .reservedBits), ([0x83, 0], .unknownOpcode), ([0x81, 0x80], .masked), ([0x89, 126], .controlTooLong),
            ([0x08, 0], .controlFragmented), ([0x81, 126, 0, 125], .lengthNotMinimal),
            ([0x81, 127, 0, 0, 0, 0, 0, 0, 255, 255], .lengthNotMinimal),
            ([0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 1], .tooLarge), ([0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255], .tooLarge),
        ] as [([UInt8], FrameHead.Violation)])
    func violations(bytes: [UInt8], expected: FrameHead.Violation) {
        #expect(throws: expected) { try parse(bytes) }
    }
}
