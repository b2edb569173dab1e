import HubPipe
import Testing

@Suite("The text of metrics")
struct MetricsTextTests {
    @Test("keeps the samples of a metric together, and escapes labels")
    func families() {
        var text = MetricsText(stage: "queue")
        text.counter("a_total", 1, "Things.", ["link": "x"])
        text.gauge("b", 0.5)
        text.counter("a_total", 2, "Things.", ["link": "\"\\\n"])
        #expect(
            String(decoding: text.bytes, as: UTF8.self) == """
                # HELP a_total Things.
                # TYPE a_total counter
                a_total{stage="queue",link="x"} 1
                a_total{stage="queue",link="\\"\\\\\\n"} 2
                # TYPE b gauge
                b{stage="queue"} 0.5

                """)
    }

    @Test("a histogram counts what is at most each bound")
    func histogram() {
        var histogram = Histogram()
        for value in [0.0005, 0.001, 0.002, 0.3, 100] { histogram.observe(value) }
        var text = MetricsText(stage: "s")
        text.histogram("h", "Help.", histogram)
        let lines = String(decoding: text.bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines[2] == #"h_bucket{stage="s",le="0.001"} 2"#)
        #expect(lines[3] == #"h_bucket{stage="s",le="0.0025"} 3"#)
        #expect(lines.contains(#"h_bucket{stage="s",le="0.5"} 4"#))
        #expect(lines.contains(#"h_bucket{stage="s",le="60"} 4"#))
        #expect(lines.contains(#"h_bucket{stage="s",le="+Inf"} 5"#))
        #expect(lines.last == #"h_count{stage="s"} 5"#)
    }
}
