import HubTLS
import Testing

@testable import HubSwarm

@Suite("The join token and the CA that it names")
struct JoinTokenTests {
    private static let hash = String(repeating: "0123456789abcdef", count: 4)

    @Test("a token is a hash and a bearer, with white space around them")
    func parts() throws {
        let token = try JoinToken("\n \(Self.hash).eyJh.eyJi.c_-1\n".utf8)
        #expect(Digest.hex(token.caHash) == Self.hash)
        #expect(token.bearer == "eyJh.eyJi.c_-1")
        #expect(try JoinToken("\(Self.hash.uppercased()).x".utf8).caHash == token.caHash)
        #expect("\(token)" == "join token")
    }

    @Test(
        "anything else is no token",
        arguments: [
            "", "\n", hash, hash + ".", "." + hash, String(hash.dropLast()) + ".x", hash + "0.x", "g" + String(hash.dropFirst()) + ".x",
            hash + ".a b", hash + ".a\r\nX: y", hash + ".ä",
        ])
    func malformed(text: String) {
        #expect(throws: SwarmError.self) { try JoinToken(text.utf8) }
    }

    /// A CA for this test only.
    private static let pem = """
        -----BEGIN CERTIFICATE-----
        MIIBfjCCASOgAwIBAgIUECpVEz76rGX1uNyB28Ras7RMtRYwCgYIKoZIzj0EAwIw
        EzERMA8GA1UEAwwIS3ViZUVkZ2UwIBcNMjYxMTI0MjEwMjU4WhgPMjEyNjEwMzEy
        MTAyNThaMBMxETAPBgNVBAMMCEt1YmVFZGdlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
        AQcDQgAEHTPDs4DFLInKcg9H3R3mQ5UVru8rQnpXYqDDIc4Ea63alKvUUHd0iBwC
        nDn6KPFdZrJk1QRkR/TXhivt2d1RGqNTMFEwHQYDVR0OBBYEFDHY8R7+NTc8w1mX
        iDT50KJnyeOCMB8GA1UdIwQYMBaAFDHY8R7+NTc8w1mXiDT50KJnyeOCMA8GA1Ud
        EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhANUUG2rwfJvYbzrRGbbYv1BO
        TJmJP9kSALvpfyu8xf+NAiEAmHDbpC1C0i8eCqaj5wFY9zIJsgVjJp+1MkSJPORE
        +XQ=
        -----END CERTIFICATE-----
        """

    @Test("the CA is believed only with the hash of the token")
    func authority() throws {
        let certificate = try Certificate.read(pem: Self.pem.utf8)
        let der = certificate.der
        let good = try JoinToken("\(Digest.hex(try certificate.sha256)).x".utf8)
        #expect(try Join.check(der, good).der == der)
        let other = try JoinToken("\(Self.hash).x".utf8)
        #expect(throws: SwarmError(.wrongCA, "the CA of the certificate service is not the one that the token names")) {
            try Join.check(der, other)
        }
        #expect { try Join.check([1, 2, 3], good) } throws: { ($0 as? SwarmError)?.code == .protocolViolation }
        #expect { try Join.check(der + [0], good) } throws: { ($0 as? SwarmError)?.code == .protocolViolation }
    }
}
