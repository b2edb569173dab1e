// Resource versions: unsigned decimal integers of any length (design: hub-queue, rule 1).

@usableFromInline package enum ResourceVersion {
    /// `text` is one or more ASCII digits.
    @inlinable package static func isValid(_ text: some Collection<UInt8>) -> Bool {
        !text.isEmpty && text.allSatisfy { $0 &- 0x30 < 10 }
    }

    /// Numeric order of two valid versions: negative, zero or positive as `left` is lower, equal or higher.
    @inlinable package static func compare(_ left: some BidirectionalCollection<UInt8>, _ right: some BidirectionalCollection<UInt8>) -> Int
    {
        let left = left.drop { $0 == 0x30 }
        let right = right.drop { $0 == 0x30 }
        if left.count != right.count { return left.count < right.count ? -1 : 1 }
        for (one, other) in zip(left, right) where one != other { return one < other ? -1 : 1 }
        return 0
    }
}
