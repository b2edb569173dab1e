"""What the cases share: the running hub, its memory and counters, the honest node beside it, and the row that a case becomes."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from conftest import wait_until
from wire import Link, Material

HERE = Path(__file__).parent


@dataclass
class Case:
    """`run` attacks and returns what the hub did; it raises AssertionError when that is not what it should do."""

    input: str
    program: str
    run: Callable
    # MB by which the program may grow at most while the attack runs.
    growth: float = 16
    # How many, in the full run and in the quick one; `{n}` in the input.
    counts: tuple = (0, 0)
    # Left out of the quick run.
    is_long: bool = False

    def title(self, is_quick):
        return self.input.format(n=self.counts[is_quick])


@dataclass
class Row:
    input: str
    program: str
    outcome: str
    before: float
    peak: float
    after: float
    seconds: float
    honest: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)


class Ground:
    """The hub under attack."""

    def __init__(self, hub, directory, is_quick):
        self.hub = hub
        self.is_quick = is_quick
        self.wss, self.https = hub.wss, hub.https
        self.material = Material(directory)
        # How many of the case's input.
        self.n = 0
        self._joined = set()
        self.token = hub.token()
        for node in ("honest-0", "honest-1", "mallory"):
            self.join(node)
        self._samples = []
        self._honest = subprocess.Popen(
            [sys.executable, str(HERE / "honest.py"), str(self.wss), str(self.https), str(self.material.directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: {sample["what"] for sample in list(self._samples)} >= {"ask", "connect", "fetch"}, what="the honest node")

    @property
    def patience(self):
        """Seconds for which a slow attack goes on: past the hub's own deadlines of 10 s, or not."""
        return 2 if self.is_quick else 12

    def join(self, node):
        import edge

        if node not in self._joined:
            made = edge.join(node, self.https, self.token, self.material.directory / "new")
            # Whole files only: the honest node reads the CA all the time.
            for path in (made.ca, made.certificate, made.key):
                path.rename(self.material.directory / path.name)
            self._joined.add(node)
        return node

    def link(self, node="mallory", **options):
        return Link(self.wss, self.material, node, **options)

    def _read(self):
        for text in self._honest.stdout:
            self._samples.append(json.loads(text))

    def stop(self):
        self._honest.stdin.close()
        self._honest.wait(10)

    # What the programs say of themselves

    def counters(self, program):
        """The line that SIGUSR1 brings; it is the one with a counter that only this program has."""
        own = {"wsserve": b"tls_resumed=", "certs": b"failed_handshakes=", "up": b"feedback="}[program]
        before = len(self.hub.errors)
        subprocess.run(["kill", "-USR1", str(self.hub.pid(program))], check=True)

        def found():
            return next((line for line in self.hub.errors[before:] if b"event=counters" in line and own in line), None)

        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)\b", wait_until(found, what="counters").decode())}

    def log_lines(self, text, since):
        return [line for line in self.hub.errors[since:] if text.encode() in line]

    def _status(self, program, name):
        text = Path(f"/proc/{self.hub.pid(program)}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", text).group(1)) / 1024

    # The run of a case

    def play(self, case, patience):
        pids = {stage: self.hub.pid(stage) for stage in ("wsserve", "certs", "queue", "keepalive", "down", "up")}
        Path(f"/proc/{pids[case.program]}/clear_refs").write_text("5")  # the peak starts here
        before = self._status(case.program, "VmRSS")
        self.n = case.counts[self.is_quick]
        row = Row(case.title(self.is_quick), case.program, "", before, 0, 0, 0)
        begun = time.monotonic()
        try:
            row.outcome = case.run(self)
        except Exception as error:  # a row of the table, and a failed run
            row.problems.append(f"{type(error).__name__}: {error}")
            row.outcome = "not what it should do"
        row.seconds = time.monotonic() - begun
        time.sleep(0.5)
        for stage, pid in pids.items():
            if self.hub.pid(stage) != pid:
                row.problems.append(f"{stage} has died")
        row.peak, row.after = self._status(case.program, "VmHWM"), self._status(case.program, "VmRSS")
        if row.peak - before > case.growth:
            row.problems.append(f"it grew by {row.peak - before:.0f} MB, more than {case.growth:.0f}")
        self._judge_honest(row, begun, patience)
        return row

    def _judge_honest(self, row, begun, patience):
        # What was under way at the end has to end too.
        time.sleep(0.3)
        samples = [sample for sample in list(self._samples) if sample["at"] + sample["ms"] / 1000 >= begun]
        for what in ("ask", "connect", "fetch"):
            times = [sample["ms"] for sample in samples if sample["what"] == what]
            row.honest[what] = max(times, default=float("inf"))
            if row.honest[what] > patience * 1000:
                row.problems.append(f"honest {what}: {row.honest[what]:.0f} ms")
        row.problems += [f"honest {sample['what']}: {sample['problem']}" for sample in samples if sample["problem"]]


def interrupted(*_):
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, interrupted)
