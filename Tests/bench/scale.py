"""The rows about many nodes: memory and CPU per connection, CPU per message, and how a herd comes back after hub-wsserve was killed.

The edges connect from several addresses of the loopback network, because one address has some 28,000 ports, and because the hub gives
each address its own turn. Ten other nodes, from an address of their own, show what all the others feel.
"""

import os
import resource
import signal
import threading
import time

from results import Figure, Row
from rows import MEMORY, latencies, megabytes, shown
from running import Skipped, figures, free_port, kilobytes_more

PROBES = 10
SOURCES = ",".join(f"127.0.1.{number}" for number in range(1, 9))
PROBE_SOURCE = "127.0.2.1"
# Descriptors of a process besides its connections.
SPARE = 600


class Crowd:
    """A swarm that goes on, and its newest counters. It logs them on SIGUSR1."""

    def __init__(self, hub, nodes, seconds):
        self.process = hub.swarm(
            "sink", "--nodes", nodes, "--reconnect", "--source", SOURCES, "--connect-parallel", 512, "--connect-timeout", seconds,
            "--handshake-timeout", 60, "--remember", 1 << 24)
        self.counters = {}
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stderr:
            words = dict(word.split("=", 1) for word in line.decode().split() if "=" in word)
            if "connected" in words:
                self.counters.update({name: int(value) for name, value in words.items() if value.isdigit()})

    def wait(self, condition, seconds, what):
        """Waits for counters; returns the seconds that it took."""
        begun = time.monotonic()
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the swarm ended before {what}")
            if self.counters:
                # It has set up its signals by now.
                self.process.send_signal(signal.SIGUSR1)
                time.sleep(0.02)
                if condition(self.counters):
                    return time.monotonic() - begun
            if time.monotonic() - begun > seconds:
                raise RuntimeError(f"waited {seconds} s in vain for {what}: {self.counters}")
            time.sleep(0.05)

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        self.thread.join(10)


def probe(hub, seconds, during=lambda: None):
    """Latency of 100 messages a second to ten other nodes, while something happens after a second."""
    count = int(seconds * 100)
    sink = hub.swarm(
        "sink", "--nodes", PROBES, "--prefix", "probe-", "--source", PROBE_SOURCE, "--reconnect", "--count", count, "--idle", 30)
    for line in sink.stderr:
        if b"event=ready" in line:
            break
    feeder = hub.owner.start(
        [hub.programs / "hub-swarm", "generate", "--nodes", PROBES, "--prefix", "probe-", "--count", count, "--size", 1024, "--rate", 100],
        stdout=hub.input)
    time.sleep(1)
    during()
    result = figures(sink, seconds + 120)
    feeder.wait(60)
    return shown(result)


def herd(run, nodes):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < nodes + SPARE:
        raise Skipped(f"{nodes:,} connections need {nodes + SPARE:,} open files, the hard limit is {limit:,} (ulimit -Hn)")
    patience = 60 + nodes // 50
    options = [word for pair in (("--node-limit", nodes + 1000), ("--max-connections", nodes + 1000)) for word in pair]
    options = [word for option in options for word in ("--wsserve-opt", option)]
    run.certificates(PROBES, "probe-")
    run.certificates(nodes, options=options)
    hub = run.hub(options=options, port=free_port())
    empty, started = hub.memory(), hub.usage()
    crowd = Crowd(hub, nodes, patience)
    crowd.wait(lambda counters: counters["connected"] == nodes, patience, "all connections")
    result = {"nodes": nodes, "connect_cpu_ms": sum(hub.usage().since(started).values()) / nodes * 1e3}
    time.sleep(3)
    full, start = hub.memory(), hub.usage()
    time.sleep(10 if run.quick else 30)
    end = hub.usage()
    result |= kilobytes_more(full, empty, nodes)
    result["idle_cpu_ms_per_second"] = sum(end.since(start).values()) / (end.moment - start.moment) * 1e3
    result["before_us"] = probe(hub, 5 if run.quick else 10)

    def feed(to):
        count = max(nodes, 10_000 if run.quick else 50_000)
        expected, before = crowd.counters["acks"] + count, hub.usage()
        hub.feed("--nodes", to, "--count", count, "--size", 1024)
        crowd.wait(lambda counters: counters["acks"] >= expected, patience, "acknowledgements")
        time.sleep(0.3)
        return hub.usage().per(count, before)

    crowd.process.send_signal(signal.SIGUSR1)
    time.sleep(0.2)
    result["to_all"], result["to_100"] = feed(nodes), feed(min(nodes, 100))
    returned = {}

    def kill():
        lost, begun = crowd.counters.get("reconnects", 0), time.monotonic()
        os.kill(hub.pids()["wsserve"], signal.SIGKILL)

        def wait():
            try:
                crowd.wait(lambda counters: counters["reconnects"] - lost >= nodes and counters["connected"] == nodes, patience, "the herd")
                returned["seconds"] = time.monotonic() - begun
            except RuntimeError as problem:
                returned["problem"] = problem

        returned["thread"] = threading.Thread(target=wait)
        returned["thread"].start()

    result["during_us"] = probe(hub, 10 + nodes / 250, kill)
    returned["thread"].join(patience + 10)
    if "seconds" not in returned:
        raise returned.get("problem") or RuntimeError("the herd did not come back")
    result["herd_seconds"] = returned["seconds"]
    result |= megabytes(hub)
    crowd.close()
    return result


def rows(numbers):
    shown_figures = [
        Figure("kb_per_connection", "memory per connection", "KB"), Figure("wsserve_kb_per_connection", "  of it hub-wsserve", "KB"),
        Figure("idle_cpu_ms_per_second", "CPU per second, idle", "ms"), Figure("connect_cpu_ms", "CPU per connection made", "ms"),
        Figure("to_all.cpu_us", "CPU per message, to all", "µs"), Figure("to_100.cpu_us", "CPU per message, to 100 of them", "µs"),
        Figure("herd_seconds", "herd is back after", "s"), *latencies("before_us", "ten others, before,"),
        *latencies("during_us", "ten others, herd,"), MEMORY]
    return [Row(f"scale-{nodes}", f"{nodes:,} connected nodes.", lambda run, nodes=nodes: herd(run, nodes), shown_figures, {},
                (40 + nodes // 60, 75 + nodes // 50), "scale") for nodes in numbers]
