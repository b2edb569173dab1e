// Who is served next. One address must not keep the others out, however many connections it opens: it has at most `perAddress` places,
// its further connections wait, addresses take turns, and when too many wait, the address with the most of them loses its newest.
// Waiting is better than refusing: an EdgeCore that is refused tries again only after 30 s, and many may stand behind one address.

internal import NIOCore

/// A state machine without sockets; `Element` is a connection.
package struct AcceptQueue<Element> {
    private struct Address {
        var active = 0
        var waiting = CircularBuffer<Element>(initialCapacity: 1)
        /// It stands in `turns`.
        var hasTurn = false
    }

    package enum Arrival {
        /// It is served at once.
        case begin
        /// It waits.
        case wait
        /// It waits, or is itself the one that must go: this one has to be closed.
        case refuse(Element)
    }

    private let limits: AcceptLimits
    private var addresses: [AddressKey: Address] = [:]
    /// Addresses that have a connection waiting and a place for it.
    private var turns = CircularBuffer<AddressKey>()
    /// Addresses by how many of their connections wait, so that the longest line is found at once.
    private var byLength: [Set<AddressKey>] = [[]]
    private var longest = 0

    package private(set) var active = 0
    package private(set) var waiting = 0

    package init(limits: AcceptLimits) { self.limits = limits }

    /// Addresses that have a connection here.
    package var addressCount: Int { addresses.count }

    package mutating func arrive(_ element: Element, from key: AddressKey) -> Arrival {
        // Numbers are read, not the address: with a copy of it in hand, the append would copy the line.
        let before = addresses[key]?.waiting.count ?? 0
        if active < limits.active, addresses[key]?.active ?? 0 < limits.perAddress, before == 0 {
            addresses[key, default: Address()].active += 1
            active += 1
            return .begin
        }
        addresses[key, default: Address()].waiting.append(element)
        lengthChanged(key, from: before)
        giveTurn(key)
        guard waiting > limits.waiting, let refused = dropNewest(of: key) else { return .wait }
        return .refuse(refused)
    }

    /// One that was served no longer counts: it is let in, or closed.
    package mutating func ended(_ key: AddressKey) {
        guard let address = addresses[key], address.active > 0 else { return }
        active -= 1
        addresses[key]?.active -= 1
        giveTurn(key)
        forget(key)
    }

    /// The next one to serve.
    package mutating func next() -> Element? {
        while active < limits.active, let key = turns.popFirst() {
            addresses[key]?.hasTurn = false
            guard let before = addresses[key]?.waiting.count, let element = addresses[key]?.waiting.popFirst() else {
                forget(key)
                continue
            }
            active += 1
            addresses[key]?.active += 1
            lengthChanged(key, from: before)
            giveTurn(key)
            return element
        }
        return nil
    }

    /// Takes the newest of the longest line out.
    /// - Parameter preferred: whose line it is when several are equally long.
    package mutating func dropNewest(of preferred: AddressKey) -> Element? {
        guard longest > 0, let key = byLength[longest].contains(preferred) ? preferred : byLength[longest].first,
            let element = addresses[key]?.waiting.popLast()
        else { return nil }
        lengthChanged(key, from: longest)
        forget(key)
        return element
    }

    /// Takes all that wait out.
    package mutating func dropAll() -> [Element] {
        let all = addresses.values.flatMap { Array($0.waiting) }
        turns.removeAll()
        addresses = addresses.filter { $0.value.active > 0 }
        for key in addresses.keys {
            addresses[key]?.waiting.removeAll()
            addresses[key]?.hasTurn = false
        }
        (byLength, longest, waiting) = ([[]], 0, 0)
        return all
    }

    private mutating func giveTurn(_ key: AddressKey) {
        guard let address = addresses[key], !address.hasTurn, !address.waiting.isEmpty, address.active < limits.perAddress else { return }
        addresses[key]?.hasTurn = true
        turns.append(key)
    }

    private mutating func lengthChanged(_ key: AddressKey, from before: Int) {
        let now = addresses[key]?.waiting.count ?? 0
        waiting += now - before
        byLength[before].remove(key)
        while byLength.count <= now { byLength.append([]) }
        if now > 0 { byLength[now].insert(key) }
        longest = max(longest, now)
        while longest > 0, byLength[longest].isEmpty { longest -= 1 }
    }

    /// An address with nothing here takes no memory; one in `turns` goes when its turn comes.
    private mutating func forget(_ key: AddressKey) {
        guard let address = addresses[key], address.active == 0, address.waiting.isEmpty, !address.hasTurn else { return }
        addresses[key] = nil
    }
}
