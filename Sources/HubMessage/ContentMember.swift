// One member of a JSON object that the scanner does not index: for rare lines, such as events.

package enum ContentMember {
    /// The value of the string member `name` of `object`; empty when it is absent or no string, or when `object` is no object.
    package static func string(_ name: StaticString, in object: UnsafeRawBufferPointer) -> String {
        guard let base = object.baseAddress else { return "" }
        let bytes = unsafe UnsafeBufferPointer(start: base.assumingMemoryBound(to: UInt8.self), count: object.count)
        var cursor = unsafe JSONCursor(bytes, base.assumingMemoryBound(to: UInt8.self))
        var found = ""
        do throws(MessageError) {
            cursor.skipSpace()
            try cursor.take(0x7b)
            cursor.skipSpace()
            while cursor.current == 0x22 {
                let key = try cursor.string()
                cursor.skipSpace()
                try cursor.take(0x3a)
                cursor.skipSpace()
                if unsafe JSONText.equal(UnsafeRawBufferPointer(rebasing: object[key.start..<key.end]), name), cursor.current == 0x22 {
                    let value = try cursor.string()
                    let raw = unsafe UnsafeRawBufferPointer(rebasing: object[value.start..<value.end])
                    found = unsafe String(decoding: JSONText.unescape(raw), as: UTF8.self)
                } else {
                    try cursor.skipValue(depth: 1)
                }
                cursor.skipSpace()
                _ = cursor.takeIf(0x2c)
                cursor.skipSpace()
            }
        } catch {
            return ""
        }
        return found
    }
}
