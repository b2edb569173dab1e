// The state file: what a commit writes, what lookups see before it, and files that cannot be used.

import Foundation
import Testing

@testable import HubStore

/// A directory that goes with the test.
final class TemporaryDirectory {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "hub-queue-\(UUID().uuidString)"
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }
}

@Suite struct StoreTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.file("queue.db") }

    private func row(_ id: Int64, node: Int64 = 1, key: String = "key", version: String = "1", message: UInt64 = 0, path: UInt64 = 0) -> Row
    {
        let bytes = Array((key + version + "{}").utf8)
        let text = RowText(
            bytes: bytes, keyEnd: key.utf8.count, versionEnd: key.utf8.count + version.utf8.count,
            objectStart: key.utf8.count + version.utf8.count, objectEnd: bytes.count)
        return Row(id: id, node: node, keyHash: UInt64(key.utf8.count), pathHash: path, messageHash: message, isDelete: false, text: text)
    }

    private func park(_ store: QueueStore, _ row: Row, _ line: String) {
        unsafe Array(line.utf8).withUnsafeBytes { unsafe store.park(row, $0) }
    }

    private func keep(_ store: QueueStore, _ slot: Int32, _ id: Int64, _ line: String) {
        unsafe Array(line.utf8).withUnsafeBytes { unsafe store.keep(slot, id: id, $0, splice: Splice(start: 0, length: 0)) }
    }

    private func rows(_ node: Int64 = 1) throws -> [Int64: String] {
        var result: [Int64: String] = [:]
        for message in try StateReader.open(path).messages(after: 0, limit: 100) {
            result[message.id] = String(decoding: message.line, as: UTF8.self)
        }
        return result
    }

    private func pendingVersion(_ store: QueueStore, _ key: String) throws -> String? {
        try store.pending(node: 1, keyHash: UInt64(key.utf8.count), key: Array(key.utf8)[...]).map {
            String(decoding: $0.version, as: UTF8.self)
        }
    }

    private func version(_ store: QueueStore, _ key: String) throws -> String? {
        let found = try store.acknowledgedVersion(node: 1, keyHash: UInt64(key.utf8.count), key: Array(key.utf8)[...])
        return found.map { String(decoding: $0, as: UTF8.self) }
    }

    private func open() throws -> QueueStore {
        let store = try QueueStore.open(path)
        if try store.nodes().isEmpty { store.createNode(1, Array("n".utf8), time: 0) }
        return store
    }

    @Test("what is committed is in the file, what is not is not")
    func commit() throws {
        let store = try open()
        park(store, row(1), "one")
        keep(store, 0, 2, "two")
        #expect(try pendingVersion(store, "key") == "1")
        #expect(try rows() == [:])
        try store.commit()
        #expect(try rows() == [1: "one", 2: "two"])
        #expect(try pendingVersion(store, "key") == "1")
        #expect(try pendingVersion(store, "kay") == nil)
    }

    @Test("of two versions in one commit the newer is written, and lookups see it before")
    func replace() throws {
        let store = try open()
        park(store, row(1, version: "1"), "v1")
        park(store, row(1, version: "2"), "v2")
        #expect(try pendingVersion(store, "key") == "2")
        try store.commit()
        park(store, row(1, version: "3"), "v3")
        #expect(try pendingVersion(store, "key") == "3")
        #expect(try rows() == [1: "v2"])
        try store.commit()
        #expect(try rows() == [1: "v3"])
    }

    @Test("a row that ends before its commit is never written")
    func fold() throws {
        let store = try open()
        keep(store, 0, 1, "one")
        store.acknowledge(node: 1, keyHash: 3, text: row(1).text, version: Array("1".utf8))
        store.remove(0)
        // The slot means another row now.
        keep(store, 0, 2, "two")
        try store.commit()
        #expect(try rows() == [2: "two"])
        #expect(try version(store, "key") == "1")
    }

    @Test("an acknowledged version never goes back, in memory or in the file")
    func acknowledged() throws {
        let store = try open()
        let text = row(1).text
        for (version, expected) in [("9", "9"), ("10", "10"), ("8", "10"), ("99", "99")] {
            store.acknowledge(node: 1, keyHash: 3, text: text, version: Array(version.utf8))
            #expect(try self.version(store, "key") == expected)
        }
        try store.commit()
        store.acknowledge(node: 1, keyHash: 3, text: text, version: Array("50".utf8))
        #expect(try version(store, "key") == "99")
        try store.commit()
        #expect(try version(store, "key") == "99")
        store.acknowledge(node: 1, keyHash: 3, text: text, version: nil)
        #expect(try version(store, "key") == nil)
        store.acknowledge(node: 1, keyHash: 3, text: text, version: Array("1".utf8))
        #expect(try version(store, "key") == "1")
        try store.commit()
        #expect(try version(store, "key") == "1")
    }

    @Test("a removed row is not found before its removal is committed")
    func removal() throws {
        let store = try open()
        park(store, row(1), "one")
        try store.commit()
        store.removePending(1)
        #expect(try pendingVersion(store, "key") == nil)
        try store.commit()
        #expect(try rows() == [:])
    }

    @Test("rows leave memory with their newest line, committed or not")
    func evict() throws {
        let store = try open()
        keep(store, 0, 1, "one")
        keep(store, 1, 2, "two")
        try store.commit()
        keep(store, 2, 3, "three")
        unsafe Array("two, newer".utf8).withUnsafeBytes { unsafe store.replace(row(2), 1, $0, splice: Splice(start: 0, length: 0)) }
        for (slot, id) in [(Int32(0), Int64(1)), (1, 2), (2, 3)] { store.evict(row(id, key: "k\(id)"), slot) }
        #expect(store.memory == 0)
        try store.commit()
        #expect(try rows() == [1: "one", 2: "two, newer", 3: "three"])
        #expect(try StateReader.open(path).recent(after: 0, limit: 10).isEmpty)
        var loaded: [Int64] = []
        let result = unsafe try store.load(node: 1, after: 1, limit: 10, bytes: 1000) { id, _, _ in loaded.append(id) }
        #expect(loaded == [2, 3])
        #expect(result.isComplete)
    }

    @Test("a key in trouble is moved to where the list shows it, whatever was committed", arguments: [true, false])
    func trouble(isCommitted: Bool) throws {
        let store = try open()
        keep(store, 0, 1, "one")
        if isCommitted { try store.commit() }
        store.noteError(row(1), 0, Array("refused".utf8))
        store.backOff(row(1), 0, attempts: 5, until: 77)
        try store.commit()
        let found = try StateReader.open(path).messages(after: 0, limit: 10)
        #expect(found.map(\.trouble.attempts) == [5])
        #expect(found.map(\.trouble.backoffUntil) == [77])
        #expect(found.map { $0.trouble.error.map { String(decoding: $0, as: UTF8.self) } } == ["refused"])
        store.remove(0)
        try store.commit()
        #expect(try rows() == [:])
    }

    @Test("a line that was sent is read from the file when it is wanted again")
    func lineOnDisk() throws {
        let store = try open()
        keep(store, 0, 1, "a line")
        store.wasSent(0, node: 1)
        #expect(store.memory == 6)
        try store.commit()
        #expect(store.memory == 0)
        var found = ""
        unsafe #expect(try store.withLine(0) { line, _ in found = unsafe String(decoding: line, as: UTF8.self) })
        #expect(found == "a line")
    }

    @Test("rows are loaded up to a number and up to a size, one at least")
    func load() throws {
        let store = try open()
        for id in 1...10 { park(store, row(Int64(id), key: "k\(id)"), String(repeating: "x", count: 100)) }
        try store.commit()
        func load(after: Int64, limit: Int, bytes: Int) throws -> (ids: [Int64], isComplete: Bool) {
            var ids: [Int64] = []
            let result = unsafe try store.load(node: 1, after: after, limit: limit, bytes: bytes) { id, _, _ in ids.append(id) }
            #expect(result.through == ids.last ?? after)
            return (ids, result.isComplete)
        }
        #expect(try load(after: 0, limit: 3, bytes: 10_000) == ([1, 2, 3], false))
        #expect(try load(after: 3, limit: 10, bytes: 250) == ([4, 5], false))
        #expect(try load(after: 5, limit: 10, bytes: 1) == ([6], false))
        #expect(try load(after: 6, limit: 10, bytes: 10_000) == ([7, 8, 9, 10], true))
        #expect(try load(after: 10, limit: 10, bytes: 10_000) == ([], true))
    }

    @Test("what a killed process had in memory is recovered as sent")
    func recover() throws {
        do {
            let store = try open()
            keep(store, 0, 1, "one")
            keep(store, 1, 2, "cannot be read")
            try store.commit()
        }
        let store = try QueueStore.open(path)
        let result = unsafe try store.recover { id, _ in id == 1 ? row(1, message: 42) : nil }
        #expect(result.moved == 1)
        #expect(result.unreadable == 1)
        var found: [Int64] = []
        unsafe try store.withSent(node: 1, after: 0, messageHash: 42) { id, _ in
            found.append(id)
            return false
        }
        #expect(found == [1])
        #expect(try rows() == [1: "one"])
    }

    @Test("only rows up to the last one sent are looked at for an answer")
    func sent() throws {
        let store = try open()
        for id in 1...3 { park(store, row(Int64(id), key: "k\(id)", message: UInt64(id)), "line") }
        try store.commit()
        unsafe Array("line".utf8).withUnsafeBytes { unsafe store.loaded(0, id: 2, $0, splice: Splice(start: 0, length: 0)) }
        store.wasSent(0, node: 1)
        try store.commit()
        func isSent(_ id: UInt64, after: Int64 = 0) throws -> Bool {
            var found = false
            unsafe try store.withSent(node: 1, after: after, messageHash: id) { _, _ in
                found = true
                return true
            }
            return found
        }
        #expect(try isSent(1))
        #expect(try isSent(2))
        #expect(try !isSent(2, after: 2))
        #expect(try !isSent(3))
    }

    @Test("a forgotten node is gone at once, and its rows little by little")
    func forget() throws {
        let store = try open()
        for id in 1...20 { park(store, row(Int64(id), key: "k\(id)"), "line") }
        store.acknowledge(node: 1, keyHash: 3, text: row(1).text, version: Array("1".utf8))
        try store.commit()
        store.forgetNode(1)
        try store.commit()
        let reader = try StateReader.open(path)
        #expect(try reader.nodes().isEmpty)
        #expect(try reader.messages(after: 0, limit: 10).isEmpty)
        #expect(try reader.acknowledged(after: 0, [], limit: 10).isEmpty)
        var steps = 0
        while store.wantsPurge {
            try store.purgeSome(7)
            steps += 1
        }
        #expect(steps == 4)
        #expect(try reader.counts(.pending).isEmpty)
        #expect(try store.nextNumbers().node == 1)
    }

    @Test("a full disk loses nothing")
    func full() throws {
        let store = try open()
        try store.commit()
        let pages = try store.connection.number("PRAGMA page_count")
        try store.connection.run("PRAGMA max_page_count=\(pages + 2)")
        for id in 1...50 { park(store, row(Int64(id), key: "k\(id)"), String(repeating: "x", count: 1000)) }
        store.acknowledge(node: 1, keyHash: 3, text: row(1).text, version: Array("1".utf8))
        for _ in 0..<3 {
            #expect(throws: StoreError.self) { try store.commit() }
            #expect(try pendingVersion(store, "k7") == "1")
            #expect(try version(store, "key") == "1")
        }
        #expect(try rows().isEmpty)
        try store.connection.run("PRAGMA max_page_count=1000000")
        try store.commit()
        #expect(try rows().count == 50)
        #expect(!store.hasWork)
    }

    @Test("a file is served by one process at a time")
    func lock() throws {
        let store = try open()
        #expect(FileLock.isTaken(path))
        #expect(throws: StoreError.self) {
            let second = try FileLock.take(path, patience: 0)
            _ = consume second
        }
        _ = store
    }

    @Test("files of a newer program, of another program and of none are refused")
    func refused() throws {
        do { _ = try open() }
        func code(_ change: String) throws -> StoreError.Code? {
            let other = directory.file(UUID().uuidString)
            do {
                let connection = try Connection.open(other, isReadOnly: false)
                try connection.run("CREATE TABLE t(x); PRAGMA application_id=\(Schema.applicationID); PRAGMA user_version=1;" + change)
            }
            do throws(StoreError) {
                _ = try QueueStore.open(other)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(try code("PRAGMA user_version=\(Schema.version + 1)") == .newerSchema)
        #expect(try code("PRAGMA application_id=7") == .foreign)
        let text = directory.file("text")
        try Data(String(repeating: "no database ", count: 1000).utf8).write(to: URL(fileURLWithPath: text))
        #expect(throws: StoreError.self) { try QueueStore.open(text) }
    }
}
