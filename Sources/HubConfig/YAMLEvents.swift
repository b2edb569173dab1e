// The events of a YAML stream, read by libyaml. Unlike a tree builder of a library, events leave every bound to the reader: an alias is a
// name here, not a copy.

internal import CYAML

/// The owner of libyaml's parser and of the bytes that it reads.
@safe struct YAMLEvents: ~Copyable {
    enum Event {
        case scalar(String, isPlain: Bool)
        case alias(String)
        case beginSequence
        case beginMapping
        case end
        case beginDocument
        case endStream
        /// The begin of the stream and the end of a document, which say nothing.
        case other
    }

    struct Item {
        let event: Event
        /// Counted from 1.
        let line: Int
        var anchor: String?
        var hasTag = false
    }

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>

    /// - Parameter bytes: UTF-8.
    static func open(_ bytes: [UInt8]) throws(ConfigError) -> YAMLEvents {
        let events = unsafe YAMLEvents(
            parser: UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1),
            text: UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, bytes.count)))
        _ = unsafe events.text.update(fromContentsOf: bytes)
        guard unsafe yaml_parser_initialize(events.parser) == 1 else { throw ConfigError(line: nil, "no memory for the YAML parser") }
        unsafe yaml_parser_set_encoding(events.parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(events.parser, events.text.baseAddress, bytes.count)
        return events
    }

    private init(parser: UnsafeMutablePointer<yaml_parser_t>, text: UnsafeMutableBufferPointer<UInt8>) {
        unsafe self.parser = unsafe parser
        unsafe self.text = unsafe text
        // What libyaml's destructor expects where its constructor has failed.
        unsafe parser.initialize(to: yaml_parser_t())
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe text.deallocate()
    }

    mutating func next() throws(ConfigError) -> Item {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else {
            let reason = unsafe parser.pointee.problem.map { unsafe String(cString: $0) } ?? "unknown problem"
            throw ConfigError(line: unsafe Int(parser.pointee.problem_mark.line) + 1, "this is no YAML: \(reason)")
        }
        defer { unsafe yaml_event_delete(&event) }
        let line = unsafe Int(event.start_mark.line) + 1
        switch unsafe event.type {
        case YAML_SCALAR_EVENT:
            let scalar = unsafe event.data.scalar
            let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            let content = unsafe String(decoding: bytes, as: UTF8.self)
            return unsafe Item(
                event: .scalar(content, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE), line: line, anchor: string(scalar.anchor),
                hasTag: scalar.tag != nil)
        case YAML_ALIAS_EVENT:
            return unsafe Item(event: .alias(string(event.data.alias.anchor) ?? ""), line: line)
        case YAML_SEQUENCE_START_EVENT:
            let start = unsafe event.data.sequence_start
            return unsafe Item(event: .beginSequence, line: line, anchor: string(start.anchor), hasTag: start.tag != nil)
        case YAML_MAPPING_START_EVENT:
            let start = unsafe event.data.mapping_start
            return unsafe Item(event: .beginMapping, line: line, anchor: string(start.anchor), hasTag: start.tag != nil)
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return Item(event: .end, line: line)
        case YAML_DOCUMENT_START_EVENT: return Item(event: .beginDocument, line: line)
        case YAML_STREAM_END_EVENT: return Item(event: .endStream, line: line)
        default: return Item(event: .other, line: line)
        }
    }

    private func string(_ text: UnsafeMutablePointer<UInt8>?) -> String? {
        unsafe text.map { unsafe String(cString: $0) }
    }
}
