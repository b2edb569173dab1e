// The members of a message that any stage reads, and how the scanner tells them: first as a key is usually written, without parsing it,
// then by its value.

/// Known members of the message.
enum MessageKey: UInt8 {
    case unknown, header, route, content, hub
}

/// Known members of `header`.
enum HeaderKey: UInt8 {
    case unknown, messageID, parentID, timestamp, resourceVersion, sync, type
}

/// Known members of `route`.
enum RouteKey: UInt8 {
    case unknown, source, group, operation, resource, destination
}

/// Known members of `hub`.
enum EnvelopeKey: UInt8 {
    case unknown, kind, node, session, key, version, force, reply, object, event, again, reason
}

/// Known members of `content`.
enum ContentKey: UInt8 {
    case unknown, metadata, kind, apiVersion
}

/// Known members of `content.metadata`.
enum MetadataKey: UInt8 {
    case unknown, uid, name, deletionTimestamp
}

extension JSONCursor {
    // Each takes the key that stands here, with its colon, and leaves it in `key`.

    @inline(__always) mutating func messageKey(_ key: inout Field) throws(MessageError) -> MessageKey {
        if takeKey("header", &key) { return .header }
        if takeKey("route", &key) { return .route }
        if takeKey("content", &key) { return .content }
        if takeKey("hub", &key) { return .hub }
        key = try takeKey()
        if field(key, is: "header") { return .header }
        if field(key, is: "route") { return .route }
        if field(key, is: "content") { return .content }
        if field(key, is: "hub") { return .hub }
        return .unknown
    }

    @inline(__always) mutating func headerKey(_ key: inout Field) throws(MessageError) -> HeaderKey {
        if takeKey("msg_id", &key) { return .messageID }
        if takeKey("parent_msg_id", &key) { return .parentID }
        if takeKey("timestamp", &key) { return .timestamp }
        if takeKey("resourceversion", &key) { return .resourceVersion }
        if takeKey("sync", &key) { return .sync }
        if takeKey("type", &key) { return .type }
        key = try takeKey()
        if field(key, is: "msg_id") { return .messageID }
        if field(key, is: "parent_msg_id") { return .parentID }
        if field(key, is: "timestamp") { return .timestamp }
        if field(key, is: "resourceversion") { return .resourceVersion }
        if field(key, is: "sync") { return .sync }
        if field(key, is: "type") { return .type }
        return .unknown
    }

    @inline(__always) mutating func routeKey(_ key: inout Field) throws(MessageError) -> RouteKey {
        if takeKey("source", &key) { return .source }
        if takeKey("group", &key) { return .group }
        if takeKey("operation", &key) { return .operation }
        if takeKey("resource", &key) { return .resource }
        if takeKey("destination", &key) { return .destination }
        key = try takeKey()
        if field(key, is: "source") { return .source }
        if field(key, is: "group") { return .group }
        if field(key, is: "operation") { return .operation }
        if field(key, is: "resource") { return .resource }
        if field(key, is: "destination") { return .destination }
        return .unknown
    }

    @inline(__always) mutating func envelopeKey(_ key: inout Field) throws(MessageError) -> EnvelopeKey {
        if takeKey("kind", &key) { return .kind }
        if takeKey("node", &key) { return .node }
        if takeKey("session", &key) { return .session }
        if takeKey("key", &key) { return .key }
        if takeKey("version", &key) { return .version }
        if takeKey("force", &key) { return .force }
        if takeKey("reply", &key) { return .reply }
        if takeKey("object", &key) { return .object }
        if takeKey("event", &key) { return .event }
        if takeKey("again", &key) { return .again }
        if takeKey("reason", &key) { return .reason }
        key = try takeKey()
        if field(key, is: "kind") { return .kind }
        if field(key, is: "node") { return .node }
        if field(key, is: "session") { return .session }
        if field(key, is: "key") { return .key }
        if field(key, is: "version") { return .version }
        if field(key, is: "force") { return .force }
        if field(key, is: "reply") { return .reply }
        if field(key, is: "object") { return .object }
        if field(key, is: "event") { return .event }
        if field(key, is: "again") { return .again }
        if field(key, is: "reason") { return .reason }
        return .unknown
    }

    @inline(__always) mutating func contentKey(_ key: inout Field) throws(MessageError) -> ContentKey {
        if takeKey("metadata", &key) { return .metadata }
        if takeKey("kind", &key) { return .kind }
        if takeKey("apiVersion", &key) { return .apiVersion }
        key = try takeKey()
        if field(key, is: "metadata") { return .metadata }
        if field(key, is: "kind") { return .kind }
        if field(key, is: "apiVersion") { return .apiVersion }
        return .unknown
    }

    @inline(__always) mutating func metadataKey(_ key: inout Field) throws(MessageError) -> MetadataKey {
        if takeKey("uid", &key) { return .uid }
        if takeKey("name", &key) { return .name }
        if takeKey("deletionTimestamp", &key) { return .deletionTimestamp }
        key = try takeKey()
        if field(key, is: "uid") { return .uid }
        if field(key, is: "name") { return .name }
        if field(key, is: "deletionTimestamp") { return .deletionTimestamp }
        return .unknown
    }
}
