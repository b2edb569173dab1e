"""The rows about fairness and recovery: what a flood, a slow edge, a controller that stops reading, and a killed queue do to others."""

import json
import os
import signal
import subprocess
import threading
import time

from kit import RawEdge, SharedInput, Valve, lease
from results import Figure, Row
from rows import latencies, shown
from running import figures, wait_connected


def flood(hub, objects, repeats, ack_delay, rate):
    """Objects for one node as fast as they are taken, while another node gets a lease reply each 100 ms."""
    first, second = "flooded-", "leased-"
    flooded = hub.swarm("sink", "--nodes", 1, "--prefix", first, "--count", objects * repeats, "--ack-delay", ack_delay, "--idle", 30)
    leased = hub.swarm("sink", "--nodes", 1, "--prefix", second)
    wait_connected(1, flooded)
    wait_connected(1, leased)
    shared = SharedInput(hub.input)
    over = threading.Event()

    def leases():
        due = time.monotonic()
        while not over.is_set():
            # Stamped before it waits for its turn at the input.
            shared.write(lease(f"{second}0"))
            due += 0.1
            time.sleep(max(0, due - time.monotonic()))

    thread = threading.Thread(target=leases)
    thread.start()
    begun = time.monotonic()
    try:
        for _ in range(repeats):
            with hub.generate("--nodes", 1, "--prefix", first, "--count", objects, "--size", 1024, "--rate", rate) as lines:
                shared.copy(lines.stdout)
        result = figures(flooded)
        seconds = time.monotonic() - begun
    finally:
        over.set()
        thread.join()
        leased.terminate()
    return {"objects": objects * repeats, "seconds": round(seconds, 1), "rate": result["rate"], "lease_us": shown(figures(leased))}


def flooded(run):
    hub = run.hub()
    return {
        "acknowledged_at_once": flood(hub, 10_000, 5 if run.quick else 40, 0, 0),
        "acknowledged_after_half_a_second": flood(hub, 2_000 if run.quick else 10_000, 1, 0.5, 0),
    }


def trickle(hub, port, certificates, node, buffer, seconds):
    """Reads 1 KB a second until it is closed, or for so long. Returns how it ended, and when."""
    slow = RawEdge(node, port, certificates, receive_buffer=buffer)
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < seconds:
            if int(time.monotonic() - begun) % 10 == 0:
                slow.keepalive()
            slow.take(1024)
            time.sleep(1)
    except (OSError, ConnectionError):
        pass
    finally:
        slow.close()
    closed = hub.logged("event=disconnected", f"node={node} ")
    reason = closed[-1].split("reason=")[1].split(" remote=")[0].strip('"') if closed else "still connected"
    return {"read": slow.read, "seconds": round(time.monotonic() - begun, 1), "reason": reason}


def slow_one(hub, quick, lane, buffer):
    """One edge reads at 1 KB/s and is sent 16 MiB; 20 others get 100 messages a second."""
    nodes, count, number = 20, 2_000 if quick else 6_000, 16 << 10
    certificates, node = hub.edges, f"slow-{lane}-{buffer or 'usual'}-"
    hub.swarm("connect", "--nodes", 1, "--prefix", node).communicate(timeout=60)
    sink = hub.swarm("sink", "--nodes", nodes, "--count", count, "--idle", 20)
    wait_connected(nodes, sink)
    outcome, before = {}, hub.memory()
    reader = threading.Thread(
        target=lambda: outcome.update(trickle(hub, hub.ports[0], certificates, f"{node}0", buffer, count / 100 + 10)))
    reader.start()
    time.sleep(1)
    shared, largest = SharedInput(hub.input), 0

    def fill():
        with hub.generate("--nodes", 1, "--prefix", node, "--count", number, "--size", 1024, "--lane", lane, "--rate", 3000) as lines:
            shared.copy(lines.stdout)

    filler = threading.Thread(target=fill)
    filler.start()

    def others():
        with hub.generate("--nodes", nodes, "--count", count, "--size", 1024, "--rate", 100) as lines:
            shared.copy(lines.stdout, 1)

    other = threading.Thread(target=others)
    other.start()
    while other.is_alive():
        largest = max(largest, hub.memory()["wsserve"])
        time.sleep(0.2)
    result = figures(sink)
    filler.join()
    reader.join()
    return {**outcome, "wsserve_mb_more": round((largest - before["wsserve"]) / 1e6, 1), "others_us": shown(result),
            "others_lost": result["lost"], "others_duplicates": result["duplicates"]}


def slow_reader(run):
    hub, quick = run.hub(), run.quick
    return {
        "once": slow_one(hub, quick, "once", None),
        "once_small_buffer": slow_one(hub, quick, "once", 4096),
        "acknowledged": slow_one(hub, quick, "ack", None),
    }


def stalled(run, options, rate):
    """The reader of the output stops, goes on later; edges go on sending, and ten others go on receiving."""
    seconds = 45 if run.quick else 300
    read, write = os.pipe()
    hub = run.hub(write, options)
    os.close(write)
    verify = run.verify()
    valve = Valve(read, os.dup(verify.stdin.fileno()))
    verify.stdin.close()
    verify.stdin = None
    nodes, count = 100, int(rate * (seconds + 10) / 100)
    upward = hub.swarm("flood", "--nodes", nodes, "--count", count, "--size", 1024, "--rate", rate, "--linger", 2)
    wait_connected(nodes, upward)
    downward = hub.swarm("sink", "--nodes", 10, "--prefix", "down-", "--count", 100 * seconds, "--idle", seconds + 60)
    wait_connected(10, downward)
    time.sleep(3)
    before = hub.closed()
    valve.open.clear()
    begun = time.monotonic()
    lines = hub.generate("--nodes", 10, "--prefix", "down-", "--count", 100 * seconds, "--size", 1024, "--rate", 100)
    thread = threading.Thread(target=lambda: SharedInput(hub.input).copy(lines.stdout, 1))
    thread.start()
    resident = 0
    while time.monotonic() - begun < seconds:
        resident = max(resident, hub.memory()["up"])
        time.sleep(0.5)
    closed = hub.closed() - before
    opened, taken = time.monotonic(), valve.bytes
    valve.open.set()
    down, up = figures(downward), figures(upward)
    thread.join()
    lines.wait()
    while time.monotonic() - valve.last < 2:
        time.sleep(0.1)
    caught_up, held = valve.last - opened, valve.bytes - taken
    hub.close()
    valve.thread.join(30)
    order = json.loads(verify.communicate(timeout=60)[0])
    return {"stalled_seconds": seconds, "closed_meanwhile": closed, "up_mb_resident": round(resident / 1e6, 1), "read_afterwards_mb": round(held / 1e6, 1),
            "caught_up_seconds": round(caught_up, 1),
            "down_us": shown(down), "down_distinct": down["distinct"], "down_duplicates": down["duplicates"], "up_sent": up["sent"],
            "up_lost_connections": up["lost"], "verify": {name: order[name] for name in ("messages", "missing", "disordered") if name in order}}


def stalled_consumer(run):
    return {
        "within_the_bounds": stalled(run, (), 1000),
        "past_the_bounds": stalled(run, ("--up-opt", "--hold", "--up-opt", "1MiB", "--up-opt", "--spill", "--up-opt", "1MiB"), 1000),
    }


def queue_killed(run):
    hub, quick = run.hub(), run.quick
    nodes, rate, seconds = 1000, 500, 15 if run.quick else 40
    sink = hub.swarm("sink", "--nodes", nodes, "--idle", 20)
    wait_connected(nodes, sink)
    hub.swarm("connect", "--nodes", 1, "--prefix", "probe-").communicate(timeout=60)
    probe = RawEdge("probe-0", hub.ports[0], hub.edges)
    probe.keepalive()
    stamps = []

    def watch():
        try:
            while True:
                for message in probe.take(1 << 16):
                    stamps.append(time.monotonic())
                    probe.acknowledge(message)
        except (OSError, ValueError):
            pass

    threading.Thread(target=watch, daemon=True).start()
    before = hub.closed()
    shared = SharedInput(hub.input)
    feeds = [("--nodes", nodes, "--rate", rate, "--count", rate * seconds), ("--nodes", 1, "--prefix", "probe-", "--rate", 100, "--count", 100 * seconds)]
    threads = []
    for feed in feeds:
        lines = hub.generate(*feed, "--size", 1024)
        threads.append(threading.Thread(target=shared.copy, args=(lines.stdout, 1)))
        threads[-1].start()
    pauses = []
    for _ in range(1 if quick else 2):
        time.sleep(5)
        killed = time.monotonic()
        os.kill(hub.pids()["queue"], signal.SIGKILL)
        time.sleep(seconds / 2 - 5)
        pauses.append(round(min(stamp for stamp in stamps if stamp > killed + 0.05) - killed, 3))
    for thread in threads:
        thread.join()
    time.sleep(2)
    # Before the edges end by themselves.
    closed = hub.closed() - before
    result = figures(sink)
    probe.close()
    return {"longest_pause_seconds": max(pauses), "pauses_seconds": pauses, "connections_closed": closed, "connections_lost_by_edges": result["lost"],
            "messages": rate * seconds, "arrived": result["distinct"], "duplicates": result["duplicates"],
            "note": "what the killed process held and had not committed is lost without a producer that reads receipts",
            "latency_us": shown(result)}


ROWS = [
    Row("flooded", "One node is flooded with objects, another gets a lease reply each 100 ms.", flooded,
        [*latencies("acknowledged_at_once.lease_us", "lease,"),
         *latencies("acknowledged_after_half_a_second.lease_us", "lease, slow acknowledgements,")], {}, (25, 90), "fairness"),
    Row("slow-reader", "One edge reads at 1 KB/s: when it is closed, and what 20 others notice.", slow_reader,
        [figure for lane in ("once", "once_small_buffer", "acknowledged")
         for figure in (Figure(f"{lane}.seconds", f"{lane}: closed after", "s"), Figure(f"{lane}.others_us.p99", "  others, p99", "µs"),
                        Figure(f"{lane}.wsserve_mb_more", "  hub-wsserve grows by", "MB"))], {}, (100, 230), "fairness"),
    Row("stalled-consumer", "A controller stops reading the hub's output while edges send.", stalled_consumer,
        [figure for part in ("within_the_bounds", "past_the_bounds")
         for figure in (Figure(f"{part}.closed_meanwhile", f"{part}: connections closed", ""), Figure(f"{part}.down_us.p99", "  latency downwards, p99", "µs"),
                        Figure(f"{part}.verify.missing", "  lost", ""), Figure(f"{part}.verify.disordered", "  out of order", ""))],
        {}, (130, 640), "fairness"),
    Row("queue-killed", "kill -9 of hub-queue with 1,000 edges connected.", queue_killed,
        [Figure("longest_pause_seconds", "until delivery goes on", "s"), Figure("connections_closed", "connections closed", "")], {}, (30, 60),
        "fairness"),
]
