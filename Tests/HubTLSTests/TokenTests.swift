// Join tokens: their form, and which ones are let in.

internal import HubCerts
internal import HubTLS
internal import Testing

@Suite struct TokenTests {
    private static let now: Int64 = 1_800_000_000
    private let key: PrivateKey
    private let authority: Authority

    init() throws {
        key = try PrivateKey.generate()
        authority = try Authority.make(key: key, now: Self.now)
    }

    private func bearer(_ token: String) -> [UInt8] { Array(token.utf8.drop { $0 != 0x2e }.dropFirst()) }

    /// A JWT with any header and claims, signed with `secret`.
    private func forge(_ header: String, _ claims: String, secret: Secret) throws -> [UInt8] {
        let signed = "\(Base64URL.encode(Array(header.utf8))).\(Base64URL.encode(Array(claims.utf8)))"
        let code = try Digest.hmacSHA256(key: secret, Array(signed.utf8))
        return Array("\(signed).\(Base64URL.encode(code))".utf8)
    }

    private func verify(_ bearer: [UInt8], at time: Int64 = now) -> JoinTokens.Verdict {
        authority.tokens.verify(bearer: bearer, now: time)
    }

    @Test("a token is the CA's hash, a dot, and a JWT with nothing but exp")
    func form() throws {
        let token = try authority.tokens.make(expiry: Self.now + 100)
        let parts = token.split(separator: ".").map(String.init)
        #expect(parts.count == 4)
        #expect(parts[0] == Digest.hex(try authority.certificate.sha256))
        #expect(Base64URL.decode(parts[1].utf8) == Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8))
        #expect(Base64URL.decode(parts[2].utf8) == Array(#"{"exp":1800000100}"#.utf8))
        let code = try Digest.hmacSHA256(key: key.block.der, Array("\(parts[1]).\(parts[2])".utf8))
        #expect(Base64URL.decode(parts[3].utf8) == code)
        #expect(verify(bearer(token)) == .valid(JoinClaims(until: Self.now + 100)))
        #expect(authority.tokens.verify(joinToken: Array(token.utf8), now: Self.now) == .valid(JoinClaims(until: Self.now + 100)))
    }

    @Test("a token ends at the second of its expiry")
    func expiry() throws {
        let token = bearer(try authority.tokens.make(expiry: Self.now))
        #expect(verify(token, at: Self.now - 1) == .valid(JoinClaims(until: Self.now)))
        #expect(verify(token, at: Self.now) == .expired)
    }

    @Test("a token of another authority is not valid")
    func otherAuthority() throws {
        let other = try Authority.make(key: try PrivateKey.generate(), now: Self.now)
        #expect(verify(bearer(try other.tokens.make(expiry: Self.now + 100))) == .invalid)
    }

    @Test("the algorithm must be HS256, whoever signed")
    func algorithms() throws {
        let claims = #"{"exp":1900000000}"#
        #expect(
            try verify(forge(#"{"alg":"HS256","typ":"JWT"}"#, claims, secret: key.block.der)) == .valid(JoinClaims(until: 1_900_000_000)))
        for header in [#"{"alg":"none"}"#, #"{"alg":"HS512"}"#, #"{"alg":"hs256"}"#, #"{"typ":"JWT"}"#, "{}", "[]", ""] {
            #expect(try verify(forge(header, claims, secret: key.block.der)) == .invalid)
        }
        let unsigned = "\(Base64URL.encode(Array(#"{"alg":"none"}"#.utf8))).\(Base64URL.encode(Array(claims.utf8)))."
        #expect(verify(Array(unsigned.utf8)) == .invalid)
    }

    @Test(
        "exp must be there, once, as a number",
        arguments: [
            "{}", #"{"exp":"1900000000"}"#, #"{"exp":null}"#, #"{"exp":-1}"#, #"{"exp":1e99}"#, #"{"exp":1,"exp":1900000000}"#,
            "1900000000",
        ])
    func claims(text: String) throws {
        #expect(try verify(forge(#"{"alg":"HS256"}"#, text, secret: key.block.der)) == .invalid)
    }

    @Test("every changed byte makes the token invalid")
    func changes() throws {
        let token = bearer(try authority.tokens.make(expiry: Self.now + 100))
        for position in token.indices {
            var changed = token
            changed[position] = changed[position] == 0x41 ? 0x42 : 0x41
            #expect(verify(changed) == .invalid)
        }
        for count in token.indices { #expect(verify(Array(token[..<count])) == .invalid) }
        #expect(verify(token + [0x2e]) == .invalid)
        #expect(verify([UInt8](repeating: 0x41, count: 100_000)) == .invalid)
    }
}
