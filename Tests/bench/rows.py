"""The rows about speed, latency and memory: one for each line of the design's table of figures to beat, and a few beside it."""

import json
import os
import time

from kit import DelayProxy, LongNetwork
from results import Figure, Goal, Row
from running import figures, kilobytes_more, wait_connected

LATENCIES = ("p50", "p90", "p99", "p99.9", "max")
CPU = [Figure("cpu_us", "CPU per message", "µs"), Figure("user_us", "  of it in user mode", "µs"), Figure("system_us", "  in the kernel", "µs")]
RATE = Figure("rate", "rate", "messages/s")
MEMORY = Figure("hub_mb", "resident, all processes", "MB")


def latencies(key="latency_us", label="latency"):
    return [Figure(f"{key}.{name}", f"{label} {name}", "µs") for name in LATENCIES]


def shown(result, key="latency_us"):
    """The percentiles of a swarm's figures."""
    return {name: result[key][name] for name in LATENCIES}


def megabytes(hub):
    """Resident memory of the hub, and of each of its processes."""
    memory = hub.memory()
    return {"hub_mb": sum(memory.values()) / 1e6, "by_stage_mb": {stage: round(size / 1e6, 2) for stage, size in memory.items()}}


def delivered(hub, nodes, count, lane="ack", idle=20):
    """What so many messages to edges that are connected have cost."""
    sink = hub.swarm("sink", "--nodes", nodes, "--count", count, "--idle", idle, "--duration", 200)
    wait_connected(nodes, sink)
    time.sleep(0.5)
    before = hub.usage()
    hub.feed("--nodes", nodes, "--count", count, "--size", 1024, "--lane", lane)
    result = figures(sink)
    time.sleep(0.5)
    return {**hub.usage().per(count, before), "rate": result["rate"], "latency_us": shown(result), **megabytes(hub),
            "distinct": result["distinct"], "duplicates": result["duplicates"], "load_cpu_s": result["cpu_seconds"]}


def downstream(run, lane):
    run.certificates(100)
    return delivered(run.hub(), 100, 20_000 if run.quick else 100_000, lane)


def acknowledged(run):
    return downstream(run, "ack")


def once(run):
    return downstream(run, "once")


def ack_delay(run):
    count = 2_000 if run.quick else 10_000
    hub = run.hub()
    sink = hub.swarm("sink", "--nodes", 1, "--count", count, "--ack-delay", 0.05, "--idle", 20, "--duration", 100)
    wait_connected(1, sink)
    before = hub.usage()
    hub.feed("--nodes", 1, "--count", count, "--size", 1024)
    result = figures(sink)
    return {**hub.usage().per(count, before), "rate": result["rate"], "latency_us": shown(result)}


def upstream(run):
    nodes, count = 100, 200 if run.quick else 1000
    run.certificates(nodes)
    verify = run.verify()
    hub = run.hub(output=verify.stdin)
    verify.stdin.close()
    verify.stdin = None
    flood = hub.swarm("flood", "--nodes", nodes, "--count", count, "--size", 1024, "--settle", 1, "--linger", 1)
    wait_connected(nodes, flood)
    time.sleep(0.3)
    before = hub.usage()
    figures(flood)
    used, memory = hub.usage().per(nodes * count, before), megabytes(hub)
    hub.close()
    result = json.loads(verify.communicate(timeout=60)[0])
    return {**used, "rate": result["rate"], "latency_us": shown(result), **memory, "messages": result["messages"], "missing": result["missing"],
            "disordered": result["disordered"]}


def light(run):
    count = 500 if run.quick else 3000
    run.certificates(10)
    hub = run.hub()
    sink = hub.swarm("sink", "--nodes", 10, "--count", count, "--idle", 20, "--duration", 100)
    wait_connected(10, sink)
    time.sleep(0.3)
    before = hub.usage()
    hub.feed("--nodes", 10, "--count", count, "--size", 1024, "--rate", 100)
    result = figures(sink)
    return {**hub.usage().per(count, before), "latency_us": shown(result), **megabytes(hub)}


def handshakes(run):
    """The first connection of each node in the second part is a full handshake too."""
    nodes, rounds = 100, 4 if run.quick else 11
    run.certificates(nodes)
    hub = run.hub()
    start = hub.usage()
    full = figures(hub.swarm("connect", "--nodes", nodes, "--rounds", rounds))
    middle = hub.usage()
    resumed = figures(hub.swarm("connect", "--nodes", nodes, "--rounds", rounds, "--resume"))
    end = hub.usage()
    first, second = middle.since(start), end.since(middle)

    def costs(used):
        one = used(first) / (nodes * rounds)
        return one * 1e3, (used(second) - one * nodes) / (nodes * (rounds - 1)) * 1e3

    whole, again = costs(lambda stages: sum(stages.values()))
    serve, serve_again = costs(lambda stages: stages["wsserve"])
    return {"full_cpu_ms": whole, "resumed_cpu_ms": again, "wsserve_full_cpu_ms": serve, "wsserve_resumed_cpu_ms": serve_again,
            "full_rate": full["rounds"][-1]["rate"], "resumed_rate": resumed["rounds"][-1]["rate"],
            "connect_us": shown(full["rounds"][-1], "connect_us"), "resume_us": shown(resumed["rounds"][-1], "connect_us"),
            "resumed": resumed["rounds"][-1]["resumed"]}


def idle(run):
    nodes, seconds = 1000, 10 if run.quick else 30
    run.certificates(nodes)
    hub = run.hub()
    before = hub.memory()
    process = hub.swarm("connect", "--nodes", nodes, "--hold", seconds + 30)
    wait_connected(nodes, process)
    time.sleep(3)
    after, start = hub.memory(), hub.usage()
    time.sleep(seconds)
    end = hub.usage()
    process.terminate()
    process.communicate(timeout=60)
    return {**kilobytes_more(after, before, nodes), **megabytes(hub),
            "cpu_ms_per_second": sum(end.since(start).values()) / (end.moment - start.moment) * 1e3}


def absent(run):
    nodes, each = 10_000, 4 if run.quick else 10
    hub = run.hub()
    start, resident = hub.usage(), [hub.memory()["queue"]]
    for number in range(each):
        hub.feed("--nodes", nodes, "--count", nodes, "--size", 1024, "--prefix", "absent-")
        hub.wait_pending(nodes * (number + 1))
        resident.append(hub.memory()["queue"])
    half = each // 2
    return {**hub.usage().per(nodes * each, start), "queue_mb": resident[-1] / 1e6,
            "growth_bytes_per_message": (resident[-1] - resident[half]) / (nodes * (each - half)), "by_step_mb": [size / 1e6 for size in resident]}


def stubborn(run):
    count = 400 if run.quick else 2000
    hub = run.hub()
    sink = hub.swarm("sink", "--nodes", 1, "--count", count + 1, "--no-ack", "default/configmap/stubborn", "--idle", 20, "--duration", 100)
    wait_connected(1, sink)
    line = {"header": {"msg_id": "stubborn", "resourceversion": "1"},
            "route": {"source": "edgecontroller", "group": "resource", "operation": "update", "resource": "node/edge-0/default/configmap/stubborn"},
            "content": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stubborn", "namespace": "default", "uid": "stubborn"}}}
    os.write(hub.input, json.dumps(line).encode() + b"\n")
    hub.feed("--nodes", 1, "--count", count, "--size", 1024, "--rate", 100)
    result = figures(sink)
    return {"latency_us": shown(result), "withheld": result["withheld"]}


def round_trip(run):
    count, reason = 5_000 if run.quick else 20_000, LongNetwork.why_not()

    def measure(number, port_of, options=()):
        hub = run.hub(options=options)
        sink = hub.swarm("sink", "--nodes", 1, "--count", number, "--idle", 20, port=port_of(hub))
        wait_connected(1, sink)
        before = hub.usage()
        hub.feed("--nodes", 1, "--count", number, "--size", 1024)
        result = figures(sink)
        used = hub.usage().per(number, before)
        hub.close()
        return result["rate"], used["cpu_us"]

    def both(port_of):
        rate, used = measure(count, port_of)
        # As KubeEdge does it: the next message leaves when the last one is acknowledged.
        narrow, _ = measure(100, port_of, ("--queue-opt", "--window", "--queue-opt", "1"))
        return {"rate": rate, "cpu_us": used, "rate_with_window_1": narrow}

    run.certificates(1)
    if reason is None:
        with LongNetwork(0.025):
            return {"by": "netem", **both(lambda hub: None)}
    return {"by": f"a delaying proxy ({reason})", **both(lambda hub: DelayProxy(hub.ports[0], 0.025).port)}


ROWS = [
    Row("acknowledged", "Acknowledged downstream, 100 nodes, 1 KB, lines on stdin, durable.", acknowledged, [*CPU, RATE, *latencies(), MEMORY],
        {"cpu_us": Goal("<=", 20, 129), "rate": Goal(">=", 9_900, 9_900)}, (9, 15)),
    Row("round-trip", "One node, 50 ms round trip, acknowledged.", round_trip,
        [RATE, Figure("rate_with_window_1", "  with one message in flight", "messages/s"), CPU[0]], {"rate": Goal(">=", 1_000, 20)}, (25, 35)),
    Row("once", "Downstream at most once, 100 nodes, 1 KB.", once, [*CPU, RATE, *latencies(), MEMORY], {"cpu_us": Goal("<=", 12, 22)}, (9, 12)),
    Row("upstream", "Upstream, 100 nodes, 1 KB, lines on stdout; the order per node is checked.", upstream,
        [*CPU, RATE, *latencies(), Figure("missing", "lost", ""), Figure("disordered", "out of order", ""), MEMORY],
        {"cpu_us": Goal("<=", 15, 80), "missing": Goal("<=", 0, None), "disordered": Goal("<=", 0, None)}, (9, 12)),
    Row("light", "Light load, 10 nodes, 100 messages a second: latency from the line to the edge.", light, [*latencies(), CPU[0], MEMORY],
        {"latency_us.p50": Goal("<=", 800, 930), "latency_us.p99": Goal("<=", 1_500, 1_500)}, (11, 36)),
    Row("handshakes", "Mutual TLS handshake and upgrade, 100 nodes: full, and resumed.", handshakes,
        [Figure("full_cpu_ms", "CPU, full", "ms"), Figure("wsserve_full_cpu_ms", "  of it hub-wsserve", "ms"),
         Figure("resumed_cpu_ms", "CPU, resumed", "ms"), Figure("wsserve_resumed_cpu_ms", "  of it hub-wsserve", "ms"),
         Figure("full_rate", "full, rate", "1/s"), Figure("resumed_rate", "resumed, rate", "1/s"),
         *latencies("connect_us", "full, 64 at once,"), *latencies("resume_us", "resumed, 64 at once,")],
        {"full_cpu_ms": Goal("<=", 1.5, 1.5), "resumed_cpu_ms": Goal("<=", 0.5, None)}, (10, 16)),
    Row("idle", "1,000 idle connections.", idle,
        [Figure("kb_per_connection", "memory per connection", "KB"), Figure("wsserve_kb_per_connection", "  of it hub-wsserve", "KB"),
         Figure("cpu_ms_per_second", "CPU per second", "ms"), MEMORY],
        {"kb_per_connection": Goal("<=", 30, 106), "cpu_ms_per_second": Goal("<=", 10, 100)}, (25, 45)),
    Row("stubborn", "One message is never acknowledged: latency of the node's other messages.", stubborn, latencies(),
        {"latency_us.p99": Goal("<=", 1_500, 25_000_000)}, (10, 26)),
    Row("absent", "Messages for 10,000 nodes that never connect.", absent,
        [Figure("growth_bytes_per_message", "memory growth per message", "bytes"), Figure("queue_mb", "resident, hub-queue", "MB"), CPU[0]],
        {"growth_bytes_per_message": Goal("<=", 64, None)}, (10, 20)),
    Row("ack-delay", "One node that acknowledges 50 ms later.", ack_delay, [RATE, CPU[0], *latencies()], {}, (6, 14)),
]
