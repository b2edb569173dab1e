// What one pass over a line finds: the places of all members that any stage reads.

/// Byte ranges of the members of one message (KubeEdge's `model.Message`) and of its envelope.
@usableFromInline package struct MessageIndex: Sendable {
    @usableFromInline package struct Header: Sendable {
        @usableFromInline package var messageID = Field.absent
        @usableFromInline package var parentID = Field.absent
        @usableFromInline package var resourceVersion = Field.absent
        @usableFromInline package var type = Field.absent
        /// The raw number, in milliseconds since 1970.
        @usableFromInline package var timestamp = Field.absent
        @usableFromInline package var sync = false
    }

    @usableFromInline package struct Route: Sendable {
        @usableFromInline package var source = Field.absent
        @usableFromInline package var destination = Field.absent
        @usableFromInline package var group = Field.absent
        @usableFromInline package var operation = Field.absent
        @usableFromInline package var resource = Field.absent
        /// Position after the opening brace of `route`, where a member can be inserted.
        @usableFromInline package var inside = 0
        @usableFromInline package var isEmpty = true
        /// The whole value of `resource` and `destination`, quotes included, or `null`; absent when the member is.
        @usableFromInline package var resourceValue = Field.absent
        @usableFromInline package var destinationValue = Field.absent
    }

    /// Members of `content` when it is a Kubernetes object.
    @usableFromInline package struct Content: Sendable {
        /// The whole value; absent when the message has no content.
        @usableFromInline package var value = Field.absent
        @usableFromInline package var apiVersion = Field.absent
        @usableFromInline package var kind = Field.absent
        @usableFromInline package var uid = Field.absent
        @usableFromInline package var name = Field.absent
        /// `metadata.deletionTimestamp` is there and not null.
        @usableFromInline package var isDeleting = false
    }

    /// The envelope `hub` of the inner form (design: "The line").
    @usableFromInline package struct Envelope: Sendable {
        @usableFromInline package var isPresent = false
        /// The first byte after the envelope's member and its comma.
        @usableFromInline package var end = 0
        /// Position after the opening brace of the envelope, where a member can be inserted.
        @usableFromInline package var inside = 0
        /// The raw number of `session`.
        @usableFromInline package var sessionValue = Field.absent
        @usableFromInline package var kind = Field.absent
        @usableFromInline package var node = Field.absent
        @usableFromInline package var key = Field.absent
        @usableFromInline package var version = Field.absent
        @usableFromInline package var event = Field.absent
        @usableFromInline package var reason = Field.absent
        /// The raw object, for ObjectSync.
        @usableFromInline package var object = Field.absent
        @usableFromInline package var session: Int64?
        @usableFromInline package var force = false
        @usableFromInline package var reply = false
        @usableFromInline package var again = false
    }

    @usableFromInline package var hub = Envelope()
    @usableFromInline package var header = Header()
    @usableFromInline package var route = Route()
    @usableFromInline package var content = Content()
    /// Position after the opening brace of the message.
    @usableFromInline package var inside = 0

    package init() {}
}
