// From one form of the line to another by cutting and inserting bytes. What is not changed is copied as it came.
// Every function appends one whole line with its newline.

/// Bytes of a line that are to be others.
package struct LineEdit: Sendable, Equatable {
    let start: Int
    let end: Int
    let text: [UInt8]

    /// `text` takes the place of `field`; inside a string it must need no escape.
    package init(_ field: Field, _ text: [UInt8]) {
        start = field.start
        end = field.end
        self.text = text
    }

    /// `text` comes in at `position`.
    package init(inserting text: [UInt8], at position: Int) {
        start = position
        end = position
        self.text = text
    }
}

extension Line {
    /// The inner form: `{`, the envelope, `,` and the message, with the first `cut` bytes of the resource's value removed.
    ///
    /// - Parameters:
    ///   - room: most bytes of the envelope.
    ///   - envelope: writes the member `"hub":{…}` without a comma.
    @inlinable @inline(__always) package func appendInner(
        cuttingResource cut: Int, to output: inout [UInt8], envelopeOfAtMost room: Int, _ envelope: (inout ByteTail) -> Void
    ) {
        output.append(atMost: unsafe bytes.count + room + 3) { tail in
            tail.append(0x7b)
            envelope(&tail)
            tail.append(0x2c)
            unsafe Self.appendMessage(bytes, from: index.inside, index.route.resource, cut, to: &tail)
        }
    }

    /// The WebSocket frame of an inner or a plain line: the message without envelope, its resource without the first `cut` bytes.
    package func appendFrame(cuttingResource cut: Int = 0, to output: inout [UInt8]) {
        output.append(atMost: unsafe bytes.count + 2) { tail in
            tail.append(0x7b)
            unsafe Self.appendMessage(bytes, from: isInner ? index.hub.end : index.inside, index.route.resource, cut, to: &tail)
        }
    }

    /// It takes what it needs of the line, which would be copied with its index.
    @usableFromInline static func appendMessage(
        _ bytes: UnsafeRawBufferPointer, from start: Int, _ resource: Field, _ cut: Int, to tail: inout ByteTail
    ) {
        if cut > 0, resource.isPresent {
            let value = unsafe UnsafeRawBufferPointer(rebasing: bytes[resource.start..<resource.end])
            let removed = unsafe resource.isEscaped ? JSONText.rawOffset(value, ofValueOffset: cut) : cut
            unsafe tail.append(UnsafeRawBufferPointer(rebasing: bytes[start..<resource.start]))
            unsafe tail.append(UnsafeRawBufferPointer(rebasing: bytes[(resource.start + removed)...]))
        } else {
            unsafe tail.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
        tail.append(0x0a)
    }

    /// The inner line with `hub.session` set.
    package func appendWithSession(_ session: Int64, to output: inout [UInt8]) {
        let known = index.hub.sessionValue
        let inside = index.hub.inside
        output.append(atMost: unsafe bytes.count + ByteTail.longestNumber + 12) { tail in
            if known.isPresent {
                unsafe tail.append(part(0, known.start))
                tail.append(decimal: session)
                unsafe tail.append(part(known.end, bytes.count))
            } else {
                unsafe tail.append(part(0, inside))
                tail.append("\"session\":")
                tail.append(decimal: session)
                // An envelope has at least its kind, so a comma always follows.
                tail.append(0x2c)
                unsafe tail.append(part(inside, bytes.count))
            }
            tail.append(0x0a)
        }
    }

    /// The plain form: without envelope, `route.destination` set, and for a node, `node/<node>/` put before the resource.
    ///
    /// - Parameters:
    ///   - destination: needs no escape in JSON.
    ///   - node: likewise; nil leaves the resource as it is.
    package func appendPlain(destination: StaticString, ofNode node: UnsafeRawBufferPointer?, to output: inout [UInt8]) {
        let route = index.route
        let start = isInner ? index.hub.end : index.inside
        let room = unsafe bytes.count + destination.utf8CodeUnitCount + (node?.count ?? 0) + 64
        output.append(atMost: room) { tail in
            var at = start
            func setDestination(_ tail: inout ByteTail) {
                guard route.destinationValue.isPresent else { return }
                unsafe tail.append(part(at, route.destinationValue.start))
                Self.appendQuoted(destination, to: &tail)
                at = route.destinationValue.end
            }

            tail.append(0x7b)
            let lacksResource = unsafe node != nil && !route.resourceValue.isPresent
            if lacksResource || !route.destinationValue.isPresent {
                // What is not there comes first.
                unsafe tail.append(part(at, route.inside))
                at = route.inside
                if !route.destinationValue.isPresent {
                    tail.append("\"destination\":")
                    Self.appendQuoted(destination, to: &tail)
                    if lacksResource { tail.append(0x2c) }
                }
                if lacksResource, let node = unsafe node {
                    tail.append("\"resource\":\"")
                    unsafe Self.appendPrefix(node, to: &tail)
                    tail.append(0x22)
                }
                if !route.isEmpty { tail.append(0x2c) }
            }
            let isDestinationFirst = route.destinationValue.start < route.resourceValue.start
            if isDestinationFirst { setDestination(&tail) }
            if !lacksResource, let node = unsafe node {
                let isString = route.resource.isPresent
                unsafe tail.append(part(at, isString ? route.resource.start : route.resourceValue.start))
                if !isString { tail.append(0x22) }
                unsafe Self.appendPrefix(node, to: &tail)
                if !isString { tail.append(0x22) }
                at = isString ? route.resource.start : route.resourceValue.end
            }
            if !isDestinationFirst { setDestination(&tail) }
            unsafe tail.append(part(at, bytes.count))
            tail.append(0x0a)
        }
    }

    @inline(__always) private static func appendQuoted(_ text: StaticString, to tail: inout ByteTail) {
        tail.append(0x22)
        tail.append(text)
        tail.append(0x22)
    }

    @inline(__always) private static func appendPrefix(_ node: UnsafeRawBufferPointer, to tail: inout ByteTail) {
        tail.append("node/")
        unsafe tail.append(node)
        tail.append(0x2f)
    }

    /// The line with some of its bytes replaced; the edits do not overlap.
    package func append(_ edits: [LineEdit], to output: inout [UInt8]) {
        var at = 0
        for edit in edits.sorted(by: { $0.start < $1.start }) {
            unsafe output.append(contentsOf: part(at, edit.start))
            output.append(contentsOf: edit.text)
            at = edit.end
        }
        unsafe output.append(contentsOf: part(at, bytes.count))
        output.append(0x0a)
    }

    /// The line as it is.
    @inlinable package func appendUnchanged(to output: inout [UInt8]) {
        output.append(atMost: unsafe bytes.count + 1) { tail in
            unsafe tail.append(bytes)
            tail.append(0x0a)
        }
    }

    @inline(__always) private func part(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }
}
