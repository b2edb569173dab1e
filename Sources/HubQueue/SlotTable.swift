// From a hash to the slots that may be meant. Open addressing, two words per entry, no allocation per entry.

/// A table from 64-bit hashes to slot numbers. A hash may stand for several slots; the caller tells which one it means.
struct SlotTable: Sendable {
    private struct Cell {
        var hash: UInt64
        /// -1 when the cell is empty.
        var slot: Int32
    }

    private static let vacant = Cell(hash: 0, slot: -1)

    private var cells: [Cell] = []
    private(set) var count = 0

    private var mask: Int { cells.count - 1 }

    /// The first slot under `hash` for which `isMeant` holds.
    @inline(__always) func find(_ hash: UInt64, where isMeant: (Int32) -> Bool) -> Int32? {
        guard count > 0 else { return nil }
        var at = home(hash)
        while cells[at].slot >= 0 {
            if cells[at].hash == hash, isMeant(cells[at].slot) { return cells[at].slot }
            at = (at &+ 1) & mask
        }
        return nil
    }

    mutating func insert(_ hash: UInt64, _ slot: Int32) {
        if (count + 1) * 4 > cells.count * 3 { grow() }
        put(Cell(hash: hash, slot: slot))
        count += 1
    }

    /// Removes the entry of `hash` for `slot`, if there is one.
    mutating func remove(_ hash: UInt64, _ slot: Int32) {
        guard count > 0 else { return }
        var at = home(hash)
        while cells[at].slot >= 0 {
            if cells[at].hash == hash, cells[at].slot == slot {
                close(at)
                count -= 1
                return
            }
            at = (at &+ 1) & mask
        }
    }

    /// Lets the entry of `hash` for `old` mean `new`.
    mutating func change(_ hash: UInt64, from old: Int32, to new: Int32) {
        guard count > 0 else { return }
        var at = home(hash)
        while cells[at].slot >= 0 {
            if cells[at].hash == hash, cells[at].slot == old {
                cells[at].slot = new
                return
            }
            at = (at &+ 1) & mask
        }
    }

    @inline(__always) private func home(_ hash: UInt64) -> Int {
        Int(truncatingIfNeeded: hash ^ hash >> 32) & mask
    }

    private mutating func put(_ cell: Cell) {
        var at = home(cell.hash)
        while cells[at].slot >= 0 { at = (at &+ 1) & mask }
        cells[at] = cell
    }

    private mutating func grow() {
        let old = cells
        cells = [Cell](repeating: Self.vacant, count: max(64, old.count * 2))
        for cell in old where cell.slot >= 0 { put(cell) }
    }

    /// Empties the cell at `hole` and moves later cells of its run back, so that no search ends too early.
    private mutating func close(_ position: Int) {
        var hole = position
        var at = (hole &+ 1) & mask
        while cells[at].slot >= 0 {
            let distance = (at &- home(cells[at].hash)) & mask
            if distance >= (at &- hole) & mask {
                cells[hole] = cells[at]
                hole = at
            }
            at = (at &+ 1) & mask
        }
        cells[hole] = Self.vacant
    }
}
