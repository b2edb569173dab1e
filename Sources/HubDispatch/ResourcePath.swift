// Places in `route.resource`: where the node stands, and the segments that lanes are decided by.
// KubeEdge searches substrings of the whole resource; here names count only at their position (design: hub-dispatch).

internal import HubMessage

/// The segments of one resource, as ranges of its value.
struct ResourcePath {
    /// The segment after the first segment `node`, empty when there is none.
    let node: Range<Int>
    /// Length of the prefix `node/<node>/` at the beginning, 0 when the resource does not begin with it.
    let prefix: Int
    /// The first three segments of the inner path, empty where there are fewer.
    let first: Range<Int>
    let second: Range<Int>
    let third: Range<Int>

    init(_ value: UnsafeRawBufferPointer) {
        var segment = unsafe Self.segment(value, from: 0)
        let isPrefixed = unsafe JSONText.equal(UnsafeRawBufferPointer(rebasing: value[segment]), "node")
        while unsafe !JSONText.equal(UnsafeRawBufferPointer(rebasing: value[segment]), "node"), segment.upperBound < value.count {
            segment = unsafe Self.segment(value, from: segment.upperBound + 1)
        }
        // Past the end the segment is empty, which means that there is no node.
        node = unsafe Self.segment(value, from: segment.upperBound + 1)
        prefix = isPrefixed && !node.isEmpty && node.upperBound < value.count ? node.upperBound + 1 : 0
        first = unsafe Self.segment(value, from: prefix)
        second = unsafe Self.segment(value, from: first.upperBound + 1)
        third = unsafe Self.segment(value, from: second.upperBound + 1)
    }

    private static func segment(_ value: UnsafeRawBufferPointer, from start: Int) -> Range<Int> {
        guard start < value.count else { return value.count..<value.count }
        var end = start
        while end < value.count, unsafe value[end] != 0x2f { end += 1 }
        return start..<end
    }
}
