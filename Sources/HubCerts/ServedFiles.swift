// What `hub-certs serve` reads at its start and at SIGHUP.

package import HubTLS
package import HubTrust

package struct ServedFiles: Sendable {
    package let authorities: AuthoritySet
    package let revocations: RevocationList
    /// For new connections.
    package let context: TLSContext

    /// - Parameter admitsExpired: client certificates that have expired get through the handshake.
    package init(_ store: CertificateStore, admitsExpired: Bool) throws(CertsError) {
        authorities = try store.authorities()
        revocations = try store.revocations()
        context = try store.serverContext(admitsExpired: admitsExpired)
    }
}
