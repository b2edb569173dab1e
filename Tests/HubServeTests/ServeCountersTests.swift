// Each cause counts for itself, under its own name.

internal import HubServe
internal import Testing

@Suite("ServeCounters")
struct ServeCountersTests {
    @Test("every cause is shown by its name, in the order of its declaration")
    func positions() {
        let counters = ServeCounters()
        for (place, cause) in ServeCounters.Cause.allCases.enumerated() { counters.add(cause, place + 1) }
        counters.add(.up, 1000, .upBytes, 2000)
        for (place, cause) in ServeCounters.Cause.allCases.enumerated() {
            let more = cause == .up ? 1000 : cause == .upBytes ? 2000 : 0
            #expect(counters[cause] == place + 1 + more)
            #expect(counters.all[place].name == cause.rawValue)
            #expect(counters.all[place].value == place + 1 + more)
        }
    }
}
