// The members of a message that any stage reads, and how the scanner tells them: first as a key is usually written, without parsing it,
// then by its value.

/// Known members of the message.
enum MessageKey: UInt8 {
    case unknown, header, route, content, hub

    @inline(__always) static func named(_ isMeant: (StaticString) -> Bool) -> MessageKey {
        if isMeant("header") { return .header }
        if isMeant("route") { return .route }
        if isMeant("content") { return .content }
        if isMeant("hub") { return .hub }
        return .unknown
    }
}

/// Known members of `header`.
enum HeaderKey: UInt8 {
    case unknown, messageID, parentID, timestamp, resourceVersion, sync, type

    @inline(__always) static func named(_ isMeant: (StaticString) -> Bool) -> HeaderKey {
        if isMeant("msg_id") { return .messageID }
        if isMeant("parent_msg_id") { return .parentID }
        if isMeant("timestamp") { return .timestamp }
        if isMeant("resourceversion") { return .resourceVersion }
        if isMeant("sync") { return .sync }
        if isMeant("type") { return .type }
        return .unknown
    }
}

/// Known members of `route`.
enum RouteKey: UInt8 {
    case unknown, source, group, operation, resource, destination

    @inline(__always) static func named(_ isMeant: (StaticString) -> Bool) -> RouteKey {
        if isMeant("source") { return .source }
        if isMeant("group") { return .group }
        if isMeant("operation") { return .operation }
        if isMeant("resource") { return .resource }
        if isMeant("destination") { return .destination }
        return .unknown
    }
}

/// Known members of `hub`.
enum EnvelopeKey: UInt8 {
    case unknown, kind, node, session, key, version, force, reply, object, event, again, reason

    @inline(__always) static func named(_ isMeant: (StaticString) -> Bool) -> EnvelopeKey {
        if isMeant("kind") { return .kind }
        if isMeant("node") { return .node }
        if isMeant("session") { return .session }
        if isMeant("key") { return .key }
        if isMeant("version") { return .version }
        if isMeant("force") { return .force }
        if isMeant("reply") { return .reply }
        if isMeant("object") { return .object }
        if isMeant("event") { return .event }
        if isMeant("again") { return .again }
        if isMeant("reason") { return .reason }
        return .unknown
    }
}

/// Known members of `content`.
enum ContentKey: UInt8 {
    case unknown, metadata, kind, apiVersion

    @inline(__always) static func named(_ isMeant: (StaticString) -> Bool) -> ContentKey {
        if isMeant("metadata") { return .metadata }
        if isMeant("kind") { return .kind }
        if isMeant("apiVersion") { return .apiVersion }
        return .unknown
    }
}

/// Known members of `content.metadata`.
enum MetadataKey: UInt8 {
    case unknown, uid, name, deletionTimestamp

    @inline(__always) static func named(_ isMeant: (StaticString) -> Bool) -> MetadataKey {
        if isMeant("uid") { return .uid }
        if isMeant("name") { return .name }
        if isMeant("deletionTimestamp") { return .deletionTimestamp }
        return .unknown
    }
}

extension JSONCursor {
    // Each takes the key that stands here, with its colon, and leaves it in `key`.

    @inline(__always) mutating func messageKey(_ key: inout Field) throws(MessageError) -> MessageKey {
        let usual = MessageKey.named { takeKey($0, &key) }
        guard usual == .unknown else { return usual }
        key = try takeKey()
        return .named { field(key, is: $0) }
    }

    @inline(__always) mutating func headerKey(_ key: inout Field) throws(MessageError) -> HeaderKey {
        let usual = HeaderKey.named { takeKey($0, &key) }
        guard usual == .unknown else { return usual }
        key = try takeKey()
        return .named { field(key, is: $0) }
    }

    @inline(__always) mutating func routeKey(_ key: inout Field) throws(MessageError) -> RouteKey {
        let usual = RouteKey.named { takeKey($0, &key) }
        guard usual == .unknown else { return usual }
        key = try takeKey()
        return .named { field(key, is: $0) }
    }

    @inline(__always) mutating func envelopeKey(_ key: inout Field) throws(MessageError) -> EnvelopeKey {
        let usual = EnvelopeKey.named { takeKey($0, &key) }
        guard usual == .unknown else { return usual }
        key = try takeKey()
        return .named { field(key, is: $0) }
    }

    @inline(__always) mutating func contentKey(_ key: inout Field) throws(MessageError) -> ContentKey {
        let usual = ContentKey.named { takeKey($0, &key) }
        guard usual == .unknown else { return usual }
        key = try takeKey()
        return .named { field(key, is: $0) }
    }

    @inline(__always) mutating func metadataKey(_ key: inout Field) throws(MessageError) -> MetadataKey {
        let usual = MetadataKey.named { takeKey($0, &key) }
        guard usual == .unknown else { return usual }
        key = try takeKey()
        return .named { field(key, is: $0) }
    }
}
