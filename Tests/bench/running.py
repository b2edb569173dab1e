"""A run of a row: hubs in directories of their own, which all end with it. Certificates are shared by all runs of one call of the bench."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import accounts

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("down", "queue", "wsserve", "keepalive", "up")


def free_port():
    """A port that is free now, for a server that shall have the same one after a restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Skipped(Exception):
    """The row, or a part of it, cannot be measured here."""


class Run:
    """Makes hubs for one run of one row."""

    def __init__(self, programs, place, quick):
        self.programs, self.place, self.quick = Path(programs), Path(place), quick
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=place))
        self._hubs, self._processes = [], []

    def hub(self, output=subprocess.DEVNULL, options=(), state=None, port=0):
        """A hub of its own state. Only one at a time: all have the same certificates."""
        self._hubs.append(Hub(self, self.directory / f"hub-{len(self._hubs)}", output, options, state, port))
        return self._hubs[-1]

    def certificates(self, nodes, prefix="edge-", options=()):
        """Certificates for these nodes, made by a hub that ends: neither their making nor what it left in memory is in a later figure."""
        if not (self.place / "edges" / f"{prefix}{nodes - 1}.crt").exists():
            hub = self.hub(options=options)
            figures(hub.swarm("connect", "--nodes", nodes, "--prefix", prefix, "--connect-parallel", 512), 600)
            hub.close()

    def program(self, name):
        return str(self.programs / name)

    def start(self, arguments, **options):
        """A process that ends with the run at the latest."""
        self._processes.append(subprocess.Popen([*map(str, arguments)], **options))
        return self._processes[-1]

    def verify(self):
        """Reads the output of the hub; its input is to be closed here once the hub has it."""
        return self.start([self.program("hub-swarm"), "verify"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def close(self):
        for hub in self._hubs:
            hub.close()
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Hub:
    """One running hub on free ports, with its input in our hands."""

    def __init__(self, owner, directory, output, options, state, port):
        self.owner, self.programs, self.directory = owner, owner.programs, directory
        directory.mkdir()
        self.run, self.state = directory / "run", state or directory / "queue.db"
        self.certificates, self.edges = owner.place / "certificates", owner.place / "edges"
        self.edges.mkdir(exist_ok=True)
        self.input, writer = os.pipe()
        self.errors = open(directory / "errors", "wb")
        self.process = subprocess.Popen(
            [ROOT / "bin/hub", "run", "--dir", self.certificates, "--state", self.state, "--run-dir", self.run, "--listen",
             f"127.0.0.1:{port}", "--certs-listen", "127.0.0.1:0", "--advertise", "127.0.0.1", *map(str, options)],
            stdin=self.input, stdout=output, stderr=self.errors,
            env={**{name: value for name, value in os.environ.items() if not name.startswith("HUB_")}, "HUB_BIN_DIR": str(self.programs)})
        os.close(self.input)
        self.input = writer
        try:
            self.ports = [self._port(name) for name in ("wss.port", "https.port")]
        except RuntimeError:
            self.close()
            raise

    def _port(self, name):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the hub ended: {(self.directory / 'errors').read_text()[-500:]}")
            try:
                return int((self.run / name).read_text())
            except (FileNotFoundError, ValueError):
                time.sleep(0.02)
        raise RuntimeError(f"no {name}")

    # Accounts

    def pids(self):
        return {stage: int((self.run / f"{stage}.pid").read_text().split()[0]) for stage in (*STAGES, "certs")}

    def processes(self):
        """All processes of the hub: the stages, and what else the launcher runs."""
        named = self.pids()
        others = [pid for pid in accounts.descendants(self.process.pid) if pid not in named.values()]
        return {**{name: [pid] for name, pid in named.items()}, "launcher": others}

    def usage(self):
        return Usage(self.processes())

    def memory(self):
        """Resident bytes by stage."""
        return {name: sum(map(accounts.resident, pids)) for name, pids in self.processes().items()}

    # Load

    def swarm(self, *arguments, port=None):
        wss, https = self.ports
        return self.owner.start(
            [self.programs / "hub-swarm", *arguments, "--hub", f"127.0.0.1:{port or wss}", "--certs-url", f"https://127.0.0.1:{https}",
             "--token-file", self.certificates / "token", "--cert-dir", self.edges],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def feed(self, *arguments):
        return subprocess.run([self.programs / "hub-swarm", "generate", *map(str, arguments)], stdout=self.input, check=True)

    def generate(self, *arguments):
        """Lines, as a stream."""
        return self.owner.start([self.programs / "hub-swarm", "generate", *arguments], stdout=subprocess.PIPE)

    # State

    def pending(self):
        """Messages that wait for a node, of all nodes."""
        shown = subprocess.run([self.programs / "hub-queue", "nodes", "--state", self.state], capture_output=True, check=True)
        return sum(json.loads(line)["pending"] for line in shown.stdout.splitlines())

    def wait_pending(self, count, timeout=120):
        """Waits until so many messages are on disk."""
        deadline = time.monotonic() + timeout
        while (found := self.pending()) != count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} messages wait, not {count}")
            time.sleep(0.2)

    def logged(self, *words):
        """Log lines that hold all of these words."""
        return [line for line in (self.directory / "errors").read_text(errors="replace").splitlines() if all(word in line for word in words)]

    def closed(self):
        """Connections that the hub closed, or lost; edges that left by themselves are not counted."""
        return sum('reason="closed by peer"' not in line for line in self.logged("event=disconnected"))

    def close(self):
        """Ends the hub; the second call does nothing."""
        if self.errors.closed:
            return
        os.close(self.input)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.errors.close()


def kilobytes_more(after, before, count):
    """Memory that each of `count` connections has cost: of all stages together, and of hub-wsserve alone. The launcher knows no connections."""
    more = {stage: (after[stage] - before[stage]) / count / 1024 for stage in (*STAGES, "certs")}
    return {"kb_per_connection": sum(more.values()), "wsserve_kb_per_connection": more["wsserve"]}


class Usage:
    """CPU of the hub's processes at one moment."""

    def __init__(self, processes):
        self.moment = time.monotonic()
        self.stages = {name: sum(map(accounts.cpu, pids)) for name, pids in processes.items()}
        modes = [accounts.user_and_system(pid) for pids in processes.values() for pid in pids]
        self.user, self.system = (sum(mode[place] for mode in modes) for place in (0, 1))

    def since(self, before):
        """Seconds of CPU since then, by stage."""
        return {stage: max(0.0, used - before.stages.get(stage, 0)) for stage, used in self.stages.items()}

    def per(self, count, before):
        """Microseconds for each of `count` things since `before`."""
        used = self.since(before)
        user, system = self.user - before.user, self.system - before.system
        return {"cpu_us": sum(used.values()) / count * 1e6, "user_us": user / count * 1e6, "system_us": system / count * 1e6,
                "by_stage_us": {stage: round(value / count * 1e6, 3) for stage, value in used.items()}}


def figures(process, timeout=300):
    """What a swarm prints at its end."""
    out, errors = process.communicate(timeout=timeout)
    if not out:
        raise RuntimeError(f"the swarm said nothing: {errors.decode()[-500:]}")
    result = json.loads(out)
    if process.returncode != 0:
        raise RuntimeError(f"the swarm ended with {process.returncode}: {errors.decode()[-300:]}")
    return result


def wait_connected(nodes, process):
    """Returns once the swarm's progress says that all nodes are connected."""
    last = []
    for line in process.stderr:
        last = [*last[-2:], line]
        words = dict(word.split("=", 1) for word in line.decode().split() if "=" in word)
        if words.get("connected") == str(nodes):
            return
    raise RuntimeError("the swarm ended before its nodes were connected: " + b"".join(last).decode())
