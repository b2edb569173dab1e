// hub-dispatch up between its descriptors.

internal import HubCommand
internal import HubDispatch
internal import HubMessage
internal import HubPipe
internal import Logging

final class UpStage: Stage {
    private var dispatcher: UpstreamDispatcher
    private var openInputs: Int
    private let output: SpillWriter
    private let feedback: SpillWriter
    private let destinations: [UpstreamDispatcher.Module: SpillWriter]
    private let rejects: Rejects
    private var breaches: BreachLog
    private let logger: Logger
    private var isTerminated = false
    private var wasFull = false

    /// Every output, the feedback first.
    let all: [SpillWriter]

    init(
        _ dispatcher: UpstreamDispatcher, inputCount: Int, output: SpillWriter, feedback: SpillWriter,
        destinations: [UpstreamDispatcher.Module: SpillWriter], rejects: Rejects, breaches: BreachLog, logger: Logger
    ) {
        self.dispatcher = dispatcher
        openInputs = inputCount
        self.output = output
        self.feedback = feedback
        self.destinations = destinations
        self.rejects = rejects
        self.breaches = breaches
        self.logger = logger
        all = [feedback, output] + destinations.values
    }

    func take(_ line: Line, from input: Int, now: Int64) -> String? {
        let route = dispatcher.route(line)
        if let breach = dispatcher.breach { breaches.note(breach, line, now: now) }
        switch route {
        case .drop: break
        case .refused(let reason): return reason
        case .feedback: write(feedback) { line.appendUnchanged(to: &$0) }
        case .refusalOfNode:
            logger.warning(
                "node_error",
                metadata: [
                    "node": "\(line.string(line.index.hub.node))", "parent_msg_id": "\(line.string(line.index.header.parentID))",
                    "resource": "\(line.string(line.index.route.resource))",
                ])
            write(feedback) { line.appendUnchanged(to: &$0) }
        case .out(let module, let prefixed): writeOut(line, module, prefixed)
        case .both:
            write(feedback) { line.appendUnchanged(to: &$0) }
            writeOut(line, .edgecontroller, false)
        case .certificateAuthority:
            write(feedback) { dispatcher.appendCertificate(for: line, time: wallMicroseconds(), to: &$0) }
        }
        return nil
    }

    private func writeOut(_ line: Line, _ module: UpstreamDispatcher.Module, _ prefixed: Bool) {
        let target = destinations.isEmpty ? output : destinations[module] ?? output
        write(target) { UpstreamDispatcher.appendOut(line, module, prefixed: prefixed, to: &$0) }
    }

    @inline(__always) private func write(_ target: SpillWriter, _ append: (inout [UInt8]) -> Void) {
        let start = target.writer.buffer.count
        append(&target.writer.buffer)
        target.appended(from: start)
    }

    func wantsInput(_ input: Int) -> Bool { !all.contains { $0.isFull } }

    /// A reader that takes all at once must not wait for the next line before it gets what lies in the file.
    var deadline: Int64? { all.contains { $0.wantsRefill } ? 0 : nil }

    func tick(now: Int64) throws(PipeError) {
        for target in all { try target.refill() }
        let isFull = all.contains { $0.isFull }
        if isFull != wasFull {
            wasFull = isFull
            let blocked = all.filter { $0.isFull }.map(\.writer.name).joined(separator: ", ")
            logger.warning(isFull ? "output_full" : "output_free", metadata: isFull ? ["output": "\(blocked)"] : nil)
        }
    }

    func inputEnded(_ input: Int, now: Int64) { openInputs -= 1 }
    func terminate(now: Int64) { isTerminated = true }
    var isDone: Bool { (isTerminated || openInputs == 0) && all.allSatisfy { $0.pending == $0.writer.pending } }

    var figures: [Figure] {
        let counters = dispatcher.counters
        func breaches(_ refusal: NodePolicy.Refusal) -> Int { counters.policy[refusal.rawValue] }
        return [
            .counter("acknowledgements", counters.acknowledgements), .counter("node_errors", counters.nodeErrors),
            .counter("keepalives", counters.keepalives), .counter("out", counters.out), .counter("events", counters.events),
            .counter("ca_requests", counters.caRequests), .counter("refused", counters.refused),
            .gauge("held_bytes", all.reduce(0) { $0 + $1.writer.pending }), .gauge("spilled_bytes", all.reduce(0) { $0 + $1.spilled }),
            .counter("policy_other_node", breaches(.otherNode)), .counter("policy_operation", breaches(.operation)),
            .counter("policy_type", breaches(.type)), .counter("policy_shape", breaches(.shape)),
            .counter("policy_unlogged", self.breaches.unlogged),
        ]
    }
}
