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
    /// The inner form: `{` + `envelope` + `,` and the message, with the first `cut` bytes of the resource's value removed.
    ///
    /// - Parameter envelope: the member `"hub":{…}` without a comma.
    package func appendInner(envelope: [UInt8], cuttingResource cut: Int, to output: inout [UInt8]) {
        output.append(0x7b)
        output.append(contentsOf: envelope)
        output.append(0x2c)
        appendMessage(from: index.inside, cuttingResource: cut, to: &output)
    }

    /// The WebSocket frame of an inner or a plain line: the message without envelope, its resource without the first `cut` bytes.
    package func appendFrame(cuttingResource cut: Int = 0, to output: inout [UInt8]) {
        output.append(0x7b)
        appendMessage(from: isInner ? index.hub.end : index.inside, cuttingResource: cut, to: &output)
    }

    private func appendMessage(from start: Int, cuttingResource cut: Int, to output: inout [UInt8]) {
        let resource = index.route.resource
        if cut > 0, resource.isPresent {
            let removed = unsafe resource.isEscaped ? JSONText.rawOffset(raw(resource), ofValueOffset: cut) : cut
            append(start, resource.start, to: &output)
            unsafe append(resource.start + removed, bytes.count, to: &output)
        } else {
            unsafe append(start, bytes.count, to: &output)
        }
        output.append(0x0a)
    }

    /// The inner line with `hub.session` set.
    package func appendWithSession(_ session: Int64, to output: inout [UInt8]) {
        let hub = index.hub
        if hub.sessionValue.isPresent {
            append(0, hub.sessionValue.start, to: &output)
            output.append(decimal: session)
            unsafe append(hub.sessionValue.end, bytes.count, to: &output)
        } else {
            append(0, hub.inside, to: &output)
            output.append("\"session\":")
            output.append(decimal: session)
            // An envelope has at least its kind, so a comma always follows.
            output.append(0x2c)
            unsafe append(hub.inside, bytes.count, to: &output)
        }
        output.append(0x0a)
    }

    /// The plain form: without envelope, `route.destination` set, and `prefix` put before the resource.
    ///
    /// - Parameter destination: a JSON string with its quotes.
    /// - Parameter prefix: bytes that need no escape in JSON.
    package func appendPlain(destination: StaticString, resourcePrefix prefix: [UInt8], to output: inout [UInt8]) {
        let route = index.route
        var edits: [LineEdit] = []
        var inserted: [UInt8] = []
        var quoted: [UInt8] = []
        quoted.append(0x22)
        quoted.append(destination)
        quoted.append(0x22)
        if route.destinationValue.isPresent {
            edits.append(LineEdit(route.destinationValue, quoted))
        } else {
            inserted.append("\"destination\":")
            inserted.append(contentsOf: quoted)
        }
        if !prefix.isEmpty {
            if route.resource.isPresent {
                edits.append(LineEdit(inserting: prefix, at: route.resource.start))
            } else if route.resourceValue.isPresent {
                edits.append(LineEdit(route.resourceValue, [0x22] + prefix + [0x22]))
            } else {
                if !inserted.isEmpty { inserted.append(0x2c) }
                inserted.append("\"resource\":\"")
                inserted.append(contentsOf: prefix)
                inserted.append(0x22)
            }
        }
        if !inserted.isEmpty {
            if !route.isEmpty { inserted.append(0x2c) }
            edits.append(LineEdit(inserting: inserted, at: route.inside))
        }
        output.append(0x7b)
        append(edits, from: isInner ? index.hub.end : index.inside, to: &output)
    }

    /// The line with some of its bytes replaced; the edits do not overlap.
    package func append(_ edits: [LineEdit], to output: inout [UInt8]) {
        append(edits, from: 0, to: &output)
    }

    private func append(_ edits: [LineEdit], from start: Int, to output: inout [UInt8]) {
        var at = start
        for edit in edits.sorted(by: { $0.start < $1.start }) {
            append(at, edit.start, to: &output)
            output.append(contentsOf: edit.text)
            at = edit.end
        }
        unsafe append(at, bytes.count, to: &output)
        output.append(0x0a)
    }

    /// The line as it is.
    package func appendUnchanged(to output: inout [UInt8]) {
        unsafe append(0, bytes.count, to: &output)
        output.append(0x0a)
    }

    @inline(__always) private func append(_ start: Int, _ end: Int, to output: inout [UInt8]) {
        unsafe output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
    }
}
