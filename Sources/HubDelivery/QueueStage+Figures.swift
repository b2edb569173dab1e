// What hub-queue tells about itself: counters, metrics, and which nodes have messages in flight.

internal import HubMessage
package import HubPipe
internal import HubQueue
internal import HubStore

extension QueueStage {
    package var figures: [Figure] {
        var figures = Figure.counters(machine.counters.members)
        figures += [
            .gauge("nodes_online", machine.onlineCount), .counter("commits", store.commits), .counter("store_errors", storeErrors),
            .gauge("memory_bytes", machine.memory + store.memory), .gauge("pending_bytes", output.pending),
            .gauge("postponed", postponed.count),
        ]
        if let receipts {
            figures += [
                .counter("receipts", receipts.written), .gauge("receipts_pending_bytes", receipts.pending),
                .gauge("receipts_spilled_bytes", receipts.spilled),
            ]
        }
        return figures
    }

    package func addMetrics(to text: inout MetricsText) {
        text.gauge("hub_connected_nodes", Double(machine.onlineCount), "Nodes that are connected, as the stage sees it.")
        text.gauge("hub_pending_messages", Double(countedRows()), "Messages on disk that wait for a node's acknowledgement.")
        text.gauge("hub_in_flight_messages", Double(machine.flightCount), "Messages that were sent and not acknowledged.")
        text.gauge("hub_backing_off_keys", Double(machine.backoffCount), "Objects whose message has failed several times and waits.")
        text.histogram("hub_ack_latency_seconds", "Time from the last send of a message to its acknowledgement.", ackLatency)
    }

    /// Rows are counted by looking at all of them, so a hundred times as long must pass as that took.
    private func countedRows() -> Int {
        let start = monotonicNanoseconds()
        guard start >= countDue, retryAt == nil, let count = try? store.countRows() else { return pendingRows }
        countDue = start + 100 * (monotonicNanoseconds() - start)
        pendingRows = count
        return count
    }

    // MARK: The status file

    package func reported() { writeStatus(monotonicNanoseconds()) }

    /// Writes the nodes that have messages in flight, one JSON object each.
    func writeStatus(_ now: Int64) {
        guard status != nil else { return }
        var bytes: [UInt8] = []
        for node in machine.flights {
            bytes.append("{\"node\":")
            JSONText.appendString(node.name, to: &bytes)
            bytes.append(",\"in_flight\":")
            bytes.append(decimal: Int64(node.count))
            bytes.append(",\"window\":")
            bytes.append(decimal: Int64(node.window))
            bytes.append("}\n")
        }
        do throws(PipeError) {
            try status?.write(bytes, now: now)
        } catch {
            notify(Notice(.error, "status_failed", ["reason": error.description]))
        }
    }
}
