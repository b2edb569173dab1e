// The bounds on connections that a server has not yet let in.

/// Counts of connections.
package struct AcceptLimits: Sendable {
    /// Served at once.
    package var active: Int
    /// Served at once of one address.
    package var perAddress: Int
    /// Accepted, but not yet served.
    package var waiting: Int
    /// Everything that is open, also what has been let in.
    package var open: Int

    package init(active: Int, perAddress: Int, waiting: Int, open: Int) {
        self.active = active
        self.perAddress = perAddress
        self.waiting = waiting
        self.open = open
    }
}
