// What one pass over a line finds: the places of all members that any stage reads.

/// Byte ranges of the members of one message (KubeEdge's `model.Message`) and of its envelope.
package struct MessageIndex: Sendable {
    package struct Header: Sendable {
        package var messageID = Field.absent
        package var parentID = Field.absent
        package var resourceVersion = Field.absent
        package var type = Field.absent
        /// The raw number, in milliseconds since 1970.
        package var timestamp = Field.absent
        package var sync = false
    }

    package struct Route: Sendable {
        package var source = Field.absent
        package var destination = Field.absent
        package var group = Field.absent
        package var operation = Field.absent
        package var resource = Field.absent
        /// Position after the opening brace of `route`, where a member can be inserted.
        package var inside = 0
        package var isEmpty = true
        /// The whole value of `resource` and `destination`, quotes included, or `null`; absent when the member is.
        package var resourceValue = Field.absent
        package var destinationValue = Field.absent
    }

    /// Members of `content` when it is a Kubernetes object.
    package struct Content: Sendable {
        /// The whole value; absent when the message has no content.
        package var value = Field.absent
        package var apiVersion = Field.absent
        package var kind = Field.absent
        package var uid = Field.absent
        package var name = Field.absent
        /// `metadata.deletionTimestamp` is there and not null.
        package var isDeleting = false
    }

    /// The envelope `hub` of the inner form (design: "The line").
    package struct Envelope: Sendable {
        package var isPresent = false
        /// The first byte after the envelope's member and its comma.
        package var end = 0
        /// Position after the opening brace of the envelope, where a member can be inserted.
        package var inside = 0
        /// The raw number of `session`.
        package var sessionValue = Field.absent
        package var kind = Field.absent
        package var node = Field.absent
        package var key = Field.absent
        package var version = Field.absent
        package var event = Field.absent
        package var reason = Field.absent
        /// The raw object, for ObjectSync.
        package var object = Field.absent
        package var session: Int64?
        package var force = false
        package var reply = false
        package var again = false
    }

    package var hub = Envelope()
    package var header = Header()
    package var route = Route()
    package var content = Content()
    /// Position after the opening brace of the message.
    package var inside = 0

    package init() {}
}
