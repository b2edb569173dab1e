// Join tokens and the strict reader of small JSON objects. The first byte says how much of the token is built here: the bytes are the
// whole bearer token, or its signed part, or header and claims, which are then encoded and signed.
//
// Checked for every input: a token is good only if HMAC-SHA256, computed here by RFC 2104 from SHA-256 alone, says so, its algorithm is
// HS256 and its end lies ahead; what FlatJSON accepts, Foundation accepts as an object with the same members.

internal import Foundation
internal import HubCerts
internal import HubMessage
internal import HubTLS

struct TokenTarget: FuzzTarget {
    static let name = "token"
    static let summary = "join tokens, base64url, FlatJSON"
    static let maxLength = 5000

    private static let now: Int64 = 1_800_000_000
    private static let key = Array("the key of a fuzzed authority".utf8)
    private let tokens: JoinTokens

    init() throws {
        let authority = try Authority.make(key: try PrivateKey.generate(), now: Self.now)
        tokens = try JoinTokens(authority: authority.certificate, key: Secret(Self.key))
    }

    func run(_ bytes: UnsafeRawBufferPointer) {
        var choices = unsafe Choices(bytes)
        let mode = choices.byte() % 4
        var bearer: [UInt8]
        switch mode {
        case 0: bearer = choices.rest()
        case 1:
            bearer = choices.rest()
            bearer += [0x2e] + Self.encode(Self.hmac(bearer))
        case 2:
            let (header, claims) = (choices.field(), choices.rest())
            bearer = Self.encode(header) + [0x2e] + Self.encode(claims)
            bearer += [0x2e] + Self.encode(Self.hmac(bearer))
        default: return Self.checkFlat(choices.rest())
        }
        let verdict = tokens.verify(bearer: bearer, now: Self.now)
        require((verdict == .invalid) || Self.isSigned(bearer), "a token is accepted that is not signed")
        guard verdict != .invalid else { return }
        let parts = bearer.split(separator: 0x2e, omittingEmptySubsequences: false)
        require(parts.count == 3, "a token without three parts")
        if parts.contains(where: { Self.hasSurrogateEscape(Self.decode($0) ?? []) }) { return }
        guard let header = Self.object(Self.decode(parts[0])), let claims = Self.object(Self.decode(parts[1])) else {
            return require(false, "a token is accepted whose header or claims are no JSON objects")
        }
        require(header["alg"] as? String == "HS256", "a token of another algorithm")
        let expiry = (claims["exp"] as? NSNumber)?.doubleValue ?? 0
        switch verdict {
        case .valid(let found):
            require(expiry > Double(Self.now), "a token is good after its end")
            require(abs(Double(found.until) - expiry) <= 1, "another end")
            require(found.node.map { claims["sub"] as? String == "system:node:\($0)" } ?? true, "a token for another node")
            require(found.id == nil || claims["jti"] as? String == found.id, "another id")
        case .expired: require(expiry <= Double(Self.now), "a token is expired before its end")
        case .early: require((claims["nbf"] as? NSNumber)?.doubleValue ?? 0 > Double(Self.now), "a token is early after its beginning")
        case .invalid: break
        }
    }

    private static func checkFlat(_ bytes: [UInt8]) {
        guard let flat = FlatJSON(bytes), !hasSurrogateEscape(bytes) else { return }
        guard flat.members.allSatisfy({ isPlain($0.value) }) else { return }
        guard let object = object(bytes) else { return require(false, "Foundation refuses what FlatJSON accepts") }
        require(object.count == flat.members.count, "Foundation sees other members")
        for (name, value) in flat.members {
            switch value {
            case .string(let text): require(object[name] as? String == text, "Foundation sees another string")
            case .bool(let flag): require(object[name] as? Bool == flag, "Foundation sees another boolean")
            case .null: require(object[name] is NSNull, "Foundation sees no null")
            case .number(let text): require((object[name] as? NSNumber)?.doubleValue == Double(text), "Foundation sees another number")
            }
        }
    }

    /// Foundation holds numbers as doubles and refuses those that do not fit.
    private static func isPlain(_ value: FlatJSON.Value) -> Bool {
        if case .number(let text) = value { text.utf8.count < 16 && !text.contains { "eE".contains($0) } } else { true }
    }

    /// `\ud8…`: a lone surrogate is U+FFFD here, as in Go, and an error in Foundation.
    static func hasSurrogateEscape(_ bytes: some Sequence<UInt8>) -> Bool {
        let bytes = Array(bytes)
        return zip(bytes, bytes.dropFirst()).contains { $0 == 0x75 && $1 | 0x20 == 0x64 }
    }

    private static func object(_ bytes: [UInt8]?) -> [String: Any]? {
        guard let bytes else { return nil }
        return (try? JSONSerialization.jsonObject(with: Data(bytes))) as? [String: Any]
    }

    // MARK: A second implementation

    private static func hmac(_ message: [UInt8]) -> [UInt8] {
        let block = key + [UInt8](repeating: 0, count: 64 - key.count)
        let inner = (try? Digest.sha256(block.map { $0 ^ 0x36 } + message)) ?? []
        return (try? Digest.sha256(block.map { $0 ^ 0x5c } + inner)) ?? []
    }

    private static func isSigned(_ bearer: [UInt8]) -> Bool {
        guard let dot = bearer.lastIndex(of: 0x2e) else { return false }
        return decode(bearer[(dot + 1)...]) == hmac(Array(bearer[..<dot]))
    }

    private static func encode(_ bytes: [UInt8]) -> [UInt8] {
        Data(bytes).base64EncodedData().compactMap { $0 == 0x2b ? 0x2d : $0 == 0x2f ? 0x5f : $0 == 0x3d ? nil : $0 }
    }

    private static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var standard = text.map { $0 == 0x2d ? UInt8(0x2b) : $0 == 0x5f ? 0x2f : $0 }
        while standard.count % 4 != 0 { standard.append(0x3d) }
        return Data(base64Encoded: Data(standard)).map { [UInt8]($0) }
    }

    func seeds(_ lines: [[UInt8]]) -> [[UInt8]] {
        let header = #"{"alg":"HS256","typ":"JWT"}"#
        let claims = [
            #"{"exp":1900000000}"#, #"{"exp":1}"#, #"{"exp":1.9e9,"iss":"x"}"#, #"{"exp":"1900000000"}"#, #"{"EXP":1900000000}"#, "{}",
            #"{"exp":1900000000,"sub":"system:node:edge-0","jti":"1"}"#, #"{"exp":1900000000,"nbf":1850000000}"#,
        ]
        let heads = [header, #"{"alg":"none"}"#, #"{"alg":"HS256","alg":"none"}"#, #"{ "typ" : null , "alg" : "\u0048S256" }"#]
        var seeds = claims.map { Array("\u{2}\(header)\0\($0)".utf8) } + heads.map { Array("\u{2}\($0)\0\(claims[0])".utf8) }
        seeds += [claims[0], #"{"a":"\ud83d\ude00\n","b":[1]}"#, #"{"a":true,"b":false,"c":null,"d":-1.5}"#].map {
            Array("\u{3}\($0)".utf8)
        }
        seeds.append([1] + Self.encode(Array(header.utf8)) + [0x2e] + Self.encode(Array(claims[0].utf8)))
        seeds.append([0] + Self.encode(Array(header.utf8)) + [0x2e] + Self.encode(Array(claims[0].utf8)) + Array(".c2lnbmF0dXJl".utf8))
        return seeds
    }
}
