// The messages that an edge writes, in the bytes of KubeEdge v1.23.1's own edge: key order, no spaces, a newline at the end.
// Acknowledgements: edge/pkg/metamanager (NewRespByMessage with "OK"); keepalives: edge/pkg/edgehub (OperationKeepalive).

package import HubMessage
package import NIOCore

package enum EdgeMessage {
    /// A keepalive, sent when the connection opens and every 15 s.
    package static func writeKeepalive(_ random: inout FastRandom, now: Int64, to buffer: inout ByteBuffer) {
        writeHeader(&random, now: now, to: &buffer)
        buffer.writeStaticString(
            #"},"route":{"source":"websocket","group":"resource","operation":"keepalive","resource":"node"},"content":"ping"}"#)
        buffer.writeInteger(0x0a as UInt8)
    }

    /// The answer to `line`: an acknowledgement, or a refusal that makes the hub try again later.
    ///
    /// - Parameter now: milliseconds since 1970.
    package static func writeAnswer(
        _ line: Line, isRefusal: Bool = false, _ random: inout FastRandom, now: Int64, to buffer: inout ByteBuffer
    ) {
        let index = line.index
        buffer.writeStaticString(#"{"header":{"msg_id":""#)
        writeID(&random, to: &buffer)
        buffer.writeStaticString(#"","parent_msg_id":""#)
        unsafe buffer.writeBytes(line.raw(index.header.messageID))
        buffer.writeStaticString(#"","timestamp":"#)
        buffer.writeDecimal(now)
        buffer.writeStaticString(#"},"route":{"#)
        if index.route.source.count > 0 {
            buffer.writeStaticString(#""source":""#)
            unsafe buffer.writeBytes(line.raw(index.route.source))
            buffer.writeStaticString(#"","#)
        }
        if index.route.group.count > 0 {
            buffer.writeStaticString(#""group":""#)
            unsafe buffer.writeBytes(line.raw(index.route.group))
            buffer.writeStaticString(#"","#)
        }
        buffer.writeStaticString(isRefusal ? #""operation":"error","resource":""# : #""operation":"response","resource":""#)
        unsafe buffer.writeBytes(line.raw(index.route.resource))
        buffer.writeStaticString(isRefusal ? #""},"content":"refused by the swarm"}"# : #""},"content":"OK"}"#)
        buffer.writeInteger(0x0a as UInt8)
    }

    /// Whether an EdgeCore acknowledges `line`: group `resource`; insert, update, delete, or a response that is not itself just "OK".
    /// Of events it acknowledges none: it sends them back.
    package static func isAcknowledged(_ line: Line) -> Bool {
        let route = line.index.route
        guard line.equals(route.group, "resource") else { return false }
        if line.equals(route.operation, "response") {
            return unsafe !JSONText.equal(line.raw(line.index.content.value), #""OK""#)
        }
        guard line.equals(route.operation, "update") || line.equals(route.operation, "insert") || line.equals(route.operation, "delete")
        else {
            return false
        }
        return unsafe line.withValue(route.resource) { unsafe !isEvent($0) }
    }

    /// `<namespace>/event` or `<namespace>/event/<name>`
    private static func isEvent(_ resource: UnsafeRawBufferPointer) -> Bool {
        guard let slash = unsafe resource.firstIndex(of: 0x2f) else { return false }
        let rest = unsafe resource[(slash + 1)...]
        return unsafe rest.starts(with: "event".utf8) && (rest.count == 5 || rest[slash + 6] == 0x2f)
    }

    /// `{"header":{"msg_id":"…","timestamp":…` without the closing brace.
    static func writeHeader(_ random: inout FastRandom, now: Int64, to buffer: inout ByteBuffer) {
        buffer.writeStaticString(#"{"header":{"msg_id":""#)
        writeID(&random, to: &buffer)
        buffer.writeStaticString(#"","timestamp":"#)
        buffer.writeDecimal(now)
    }

    /// A random UUID (RFC 9562, version 4).
    static func writeID(_ random: inout FastRandom, to buffer: inout ByteBuffer) {
        let high = random.next() & 0xffff_ffff_ffff_0fff | 0x4000
        let low = random.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        buffer.writeHex(high >> 32, digits: 8)
        buffer.writeInteger(0x2d as UInt8)
        buffer.writeHex(high >> 16, digits: 4)
        buffer.writeInteger(0x2d as UInt8)
        buffer.writeHex(high, digits: 4)
        buffer.writeInteger(0x2d as UInt8)
        buffer.writeHex(low >> 48, digits: 4)
        buffer.writeInteger(0x2d as UInt8)
        buffer.writeHex(low, digits: 12)
    }
}

extension ByteBuffer {
    /// Writes `number` in decimal digits.
    mutating func writeDecimal(_ number: Int64) {
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = 20
        var rest = number.magnitude
        repeat {
            first -= 1
            digits[first] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        if number < 0 { writeInteger(0x2d as UInt8) }
        for index in first..<20 { writeInteger(digits[index]) }
    }

    /// Writes the low `digits` hexadecimal digits of `word`.
    mutating func writeHex(_ word: UInt64, digits: Int) {
        var shift = digits * 4
        while shift > 0 {
            shift -= 4
            let value = UInt8(truncatingIfNeeded: word >> UInt64(shift)) & 15
            writeInteger(value < 10 ? 0x30 + value : 0x57 + value)
        }
    }
}
