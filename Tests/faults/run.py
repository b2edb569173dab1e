"""The fault run of the whole hub: edges, a controller with receipts, and faults from a seeded schedule. See `bin/faults --help`."""

import argparse
import asyncio
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import isolation
import schedule

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PASSED, BROKEN, USAGE, MISSING, FAILED, INTERRUPTED = 0, 1, 64, 69, 70, 75
MOST_WAITING = 2 << 20

DESCRIPTION = """Runs the whole hub under faults and checks that nothing is lost.

A controller writes versions and deletions of objects for many edges into `hub run`, keeps each until its receipt comes, and sends again
what has none when a stage dies. Meanwhile a schedule that follows from the seed injects faults. Then the faults stop, everything drains,
and each edge must hold exactly the newest version of each object, must have seen every deletion, and must never have seen an older
version after a newer one, a message of another node, an altered content, or a message of lane `once` twice. What edges sent must have
come out once and in order, except what a killed stage or a broken connection took with it, which is counted. The queue must be empty.
No connection may be closed as slow or silent unless the run made it so. The hub must end by SIGTERM with status 0."""

END = "kinds of faults for --rules:\n" + "\n".join(f"  {name:9} {text}" for name, text in schedule.KINDS.items()) + """

A run is replayed with the same --seed, --minutes, --edges and --rules; the moments of processes and network are of course not the same.
As root it runs in namespaces of its own for processes, mounts and network; otherwise traffic is on loopback and `disk` is left out.
The figures are one JSON object on standard output, the progress is on standard error.

exit status:
   0  every rule held
   1  a rule was broken; the files are kept, and standard error names them
  64  wrong usage
  69  the programs or Python packages are missing
  70  the run itself failed
  75  interrupted"""


def parse():
    parser = argparse.ArgumentParser(
        prog="bin/faults", usage="bin/faults [--minutes M] [--seed N] [--edges N] [--rules KIND,…] [OPTION…]", description=DESCRIPTION,
        epilog=END, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="how long faults are injected (default: 2); draining comes on top")
    parser.add_argument("--seed", type=int, help="makes the schedule; random without it, and printed")
    parser.add_argument("--edges", type=int, default=40, help="number of edges (default: 40)")
    parser.add_argument("--rules", default=",".join(schedule.KINDS), help="kinds of faults (default: all)")
    parser.add_argument("--rate", type=float, default=150, help="messages of the controller per second (default: 150)")
    parser.add_argument("--bin", default=os.environ.get("HUB_BIN_DIR"), help="directory of the programs (default: the release build, else the debug build)")
    parser.add_argument("--keep", action="store_true", help="keep the files of a run that passed as well")
    parser.add_argument("--plan", action="store_true", help="print the schedule and end")
    try:
        options = parser.parse_args()
    except SystemExit as ending:
        sys.exit(USAGE if ending.code == 2 else ending.code)
    options.kinds = [kind for kind in options.rules.split(",") if kind]
    wrong = [kind for kind in options.kinds if kind not in schedule.KINDS]
    if wrong or options.edges < 1 or options.minutes <= 0 or options.rate <= 0:
        print(f"faults: {'unknown kind ' + wrong[0] if wrong else 'numbers must be positive'}", file=sys.stderr)
        sys.exit(USAGE)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**32)
    if options.bin is None:
        release = ROOT / ".build" / "release"
        options.bin = release if (release / "hub-wsserve").exists() else ROOT / ".build" / "debug"
    options.bin = Path(options.bin).resolve()
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


class Interrupted(Exception):
    pass


async def until(condition, seconds, pause=0.1):
    """Waits until `condition()` holds; returns whether it did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(pause)
    return bool(condition())


class Run:
    def __init__(self, options, directory):
        from edges import FaultEdge
        from hub import Hub
        from producer import Producer
        from proxy import Proxy
        from world import World

        self.options, self.directory = options, directory
        self.world = World(options.kinds)
        self.hub = Hub(options.bin, directory, self.world.on_output, self.world.on_log)
        self.proxy = Proxy(lambda: self.hub.port("wss.port") or 1)
        names = [f"edge-{number}" for number in range(options.edges)]
        self.producer = Producer(options.seed, names, self.hub.write)
        self.world.proxy, self.world.producer, self.world.hub = self.proxy, self.producer, self.hub
        self.names, self.make_edge = names, FaultEdge
        self.edges, self.edge_tasks, self.tasks = [], [], []
        self.has_disk = False
        self.memory = collections.Counter()
        self.drained_after = None

    # Before

    def hub_options(self):
        chosen = schedule.settings(self.options.seed)
        say(f"settings {' '.join(f'{name}={value}' for name, value in chosen.items())}")
        options = {
            "queue": ["--ack-timeout", "1", "--reconcile", "5", "--window", chosen["window"], "--max-memory", chosen["max_memory"],
                      "--commit-delay", chosen["commit_delay"]],
            "wsserve": ["--ping", "4", "--stall", "5"],
            "keepalive": ["--timeout", "10"],
            "up": ["--hold", chosen["hold"], "--spill", chosen["spill"], "--spill-dir", self.directory],
        }
        return ["--receipts", str(self.hub.receipts)] + [word for stage, words in options.items() for part in words for word in (f"--{stage}-opt", str(part))]

    async def begin(self):
        import edge as wire

        (self.directory / "state").mkdir()
        if "disk" in self.options.kinds:
            from faults import mount_disk

            reason = self.options.not_isolated or mount_disk(self.hub.state.parent)
            self.has_disk = reason is None
            if reason:
                say(f"SKIPPED disk: {reason}")
        self.hub.start(self.hub_options())
        https = await self.hub.wait_port("https.port")
        await self.hub.wait_port("wss.port")
        await self.proxy.start()
        token = self.hub.token()

        def join(name):
            return wire.join(name, https, token, self.directory / "edges")

        loop = asyncio.get_running_loop()
        identities = []
        for start in range(0, len(self.names), 8):
            identities += await asyncio.gather(*(loop.run_in_executor(None, join, name) for name in self.names[start:start + 8]))
        self.edges = [self.make_edge(name, identity, self.world, self.options.seed) for name, identity in zip(self.names, identities)]
        self.world.begun = time.monotonic()
        self.edge_tasks = [asyncio.create_task(edge.run()) for edge in self.edges]
        if not await until(lambda: all(edge.socket for edge in self.edges), 30):
            raise RuntimeError("not all edges could connect")

    # During

    async def produce(self, seconds):
        """Messages at a steady rate; fewer while the hub takes none."""
        pause = 0.02
        due = 0.0
        while self.world.now < seconds:
            await asyncio.sleep(pause)
            self.producer.read_receipts(self.hub.receipts)
            due += self.options.rate * pause
            while due >= 1:
                due -= 1
                if len(self.hub.waiting) < MOST_WAITING:
                    self.producer.step()

    async def report(self):
        while True:
            await asyncio.sleep(10)
            for stage in schedule.STAGES:
                self.memory[stage] = max(self.memory[stage], self.hub.resident(stage))
            counts = self.world.counts
            say(f"t={self.world.now:.1f} made {self.producer.made} resent {self.producer.resent} delivered {counts['delivered']} "
                f"outstanding {len(self.producer.outstanding())} online {sum(edge.socket is not None for edge in self.edges)} "
                f"upstream {counts['upstream_seen']} broken {sum(self.world.breaches.values())}")

    async def watch(self):
        """Ends when the hub ends by itself."""
        while self.hub.process.poll() is None:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        self.world.broken("ended", f"the hub ended by itself with status {self.hub.process.returncode}")

    async def inject(self):
        from faults import Injector

        seconds = self.options.minutes * 60
        plan = [
            fault for fault in schedule.plan(self.options.seed, seconds, self.options.kinds, self.options.edges)
            if fault.kind != "disk" or self.has_disk
        ]
        injector = Injector(self.world, self.hub, self.proxy, self.producer, self.edges, self.hub.state.parent if self.has_disk else None)
        self.world.begun = time.monotonic()
        await asyncio.gather(self.produce(seconds), injector.run(plan))
        self.world.is_calm = True
        say(f"t={self.world.now:.1f} the faults are over")
        injector.calm()

    # After

    async def drain(self):
        import checks

        begun = time.monotonic()

        def taken():
            self.producer.read_receipts(self.hub.receipts)
            return not self.hub.waiting and not self.producer.outstanding()

        if not await until(taken, 90):
            say(f"t={self.world.now:.1f} receipts are missing")
        rows = None
        while time.monotonic() - begun < 120:
            try:
                rows = await self.hub.queue("list")
            except RuntimeError as problem:
                say(str(problem))
            if rows == []:
                break
            await asyncio.sleep(0.3)
        else:
            for row in (rows or [])[:5]:
                self.world.broken("drained", f"still pending: {row}")
            self.world.breaches["drained"] += max(0, len(rows or []) - 5)
        self.drained_after = time.monotonic() - begun
        say(f"t={self.world.now:.1f} drained after {self.drained_after:.1f} s")
        for node in await self.hub.queue("nodes"):
            if not node["online"]:
                self.world.broken("online", f"the queue takes {node['node']} for offline")
        self.world.is_over = True
        for edge in self.edges:
            edge.reconnect("close")
        await self._edges_closed()
        sent = sum(len(connection.sent) for edge in self.edges for connection in edge.connections)
        await until(lambda: self.world.counts["upstream_seen"] >= sent, 3)
        checks.receipts(self.world, self.producer)
        checks.objects(self.world, self.producer, self.edges)
        checks.syncs(self.world, self.producer, await self.hub.queue("syncs"))
        checks.upstream(self.world, self.edges)
        checks.torn(self.world, self.producer)

    async def _edges_closed(self):
        open_ones = [edge.connections[-1] for edge in self.edges if edge.connections]
        await until(lambda: all(connection.ended for connection in open_ones), 15)
        await self._cancel(self.edge_tasks)

    @staticmethod
    async def _cancel(tasks):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self):
        await self._cancel(self.tasks + self.edge_tasks)
        if self.hub.process is None:
            return
        while self.hub._stalls:
            self.hub.resume()
        ended_itself = self.hub.process.poll()
        status = await self.hub.stop()
        if ended_itself is None and status != 0:
            self.world.broken("ended", f"SIGTERM ended the hub with status {status}")
        self.hub.kill()
        if self.proxy.port:
            await self.proxy.close()
        await asyncio.sleep(0.2)
        self.hub.close()

    async def go(self):
        loop, main = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, main.cancel)
        try:
            await self.begin()
            watch = asyncio.create_task(self.watch())
            self.tasks += [watch, asyncio.create_task(self.report())]

            async def work():
                await self.inject()
                await self.drain()

            task = asyncio.create_task(work())
            self.tasks.append(task)
            await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        except asyncio.CancelledError:
            raise Interrupted from None
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
            await self.end()

    # Figures

    def figures(self):
        edges, producer, counts = self.edges, self.producer, self.world.counts
        kills = collections.Counter(stage for _, stage in self.world.kills)

        def total(name):
            return sum(getattr(edge, name) for edge in edges)

        def spread(values):
            ordered = sorted(values)
            return {"count": len(ordered), "median": round(ordered[len(ordered) // 2], 2), "longest": round(ordered[-1], 2)}

        return {
            "seed": self.options.seed, "minutes": self.options.minutes, "edges": len(edges), "rules": self.options.kinds,
            "injected": {name[6:]: number for name, number in sorted(counts.items()) if name.startswith("fault_")},
            "kills": dict(kills),
            "links_cut": {name[4:]: number for name, number in sorted(counts.items()) if name.startswith("cut_")},
            "edges_misbehaved": {name: total(name) for name in ("late", "twice", "withheld", "refused", "made_up")},
            "disk_full_noticed": counts["store_failed"],
            "controller": {"messages": producer.made, "resent": producer.resent, "bad": producer.bad, "once": producer.onces,
                           "replies": producer.replies, "receipts": producer.fates, "receipts_torn": producer.torn_receipts},
            "delivered": {"objects": counts["delivered"], "again": total("duplicates"), "once": sum(len(edge.onces) for edge in edges),
                          "replies": total("replies")},
            "checked": {"objects": counts["objects_checked"], "deletions": counts["deletions_checked"]},
            "upstream": {"sent": counts["upstream_sent"], "seen": counts["upstream_seen"], "lost_by_kill": counts["upstream_lost_by_kill"],
                         "lost_with_connection": counts["upstream_lost_with_connection"], "torn": counts["torn_output"]},
            "connections": counts["connections"], "refused_lines": counts["reject"],
            "closed": {name[7:]: number for name, number in sorted(counts.items()) if name.startswith("closed_")},
            "recovery_seconds": {stage: spread(values) for stage, values in sorted(self.world.recoveries.items())},
            "drained_seconds": round(self.drained_after, 1) if self.drained_after is not None else None,
            "largest_resident_mb": {stage: round(size / 1e6, 1) for stage, size in self.memory.items()},
            "broken": dict(self.world.breaches),
        }


def main():
    options = parse()
    if options.plan:
        for fault in schedule.plan(options.seed, options.minutes * 60, options.kinds, options.edges):
            print(fault)
        return PASSED
    if not all((options.bin / name).exists() for name in ("hub-dispatch", "hub-queue", "hub-wsserve", "hub-keepalive", "hub-certs")):
        say(f"faults: no programs in {options.bin}; run swift build")
        return MISSING
    options.not_isolated = isolation.enter()
    # After the fork, because it starts a thread.
    sys.path.insert(0, str(HERE.parent / "blackbox"))
    try:
        import edge  # noqa: F401
    except ImportError as problem:
        say(f"faults: {problem}; bin/faults makes the environment that has it")
        return MISSING
    directory = Path(tempfile.mkdtemp(prefix="hub-faults-"))
    say(f"seed {options.seed} edges {options.edges} minutes {options.minutes:g} rules {','.join(options.kinds)}"
        + (f"; not in namespaces of its own: {options.not_isolated}" if options.not_isolated else ""))
    run, status = None, FAILED
    try:
        run = Run(options, directory)
        asyncio.run(run.go())
        status = BROKEN if run.world.breaches else PASSED
    except Interrupted:
        say("faults: interrupted")
        status = INTERRUPTED
    except (RuntimeError, OSError) as problem:
        say(f"faults: {problem}")
    finally:
        if run is not None and status in (PASSED, BROKEN):
            print(json.dumps(run.figures(), indent=1), flush=True)
        if status in (PASSED, INTERRUPTED) and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            # What lies on the mounted file system ends with this process.
            if (directory / "state").is_dir():
                shutil.copytree(directory / "state", directory / "kept", ignore=shutil.ignore_patterns("fill-*"), dirs_exist_ok=True)
            say(f"faults: the files are in {directory}")
    if run is not None:
        for rule, count in run.world.breaches.items():
            say(f"BROKEN {rule}: {count} times")
            for example in run.world.examples.get(rule, []):
                say(f"  {example}")
    if status in (PASSED, BROKEN):
        say(f"faults: {'every rule held' if status == PASSED else 'FAILED'}; replay with --seed {options.seed} --minutes {options.minutes:g} "
            f"--edges {options.edges} --rules {','.join(options.kinds)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
