"""What the tests of hub-queue share: lines, and the running program between its pipes."""

import json
import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

BIN = Path(os.environ.get("HUB_BIN_DIR", Path(__file__).parents[2] / ".build" / "debug"))
QUEUE = str(BIN / "hub-queue")


def encode(message):
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def ack(node, key, version, msg_id, operation="update", resource=None, size=0, **envelope):
    """An `ack` line as hub-dispatch down writes it."""
    resource = resource or f"default/configmap/{key}"
    namespace, kind, name = (resource.split("/") + ["", ""])[:3]
    hub = {"kind": "ack", "node": node, "key": key}
    if version is not None:
        hub["version"] = str(version)
    hub |= envelope
    hub["object"] = {"apiVersion": "v1", "kind": kind, "namespace": namespace, "name": name}
    header = {"msg_id": msg_id, "timestamp": 1795406829541, "resourceversion": str(version or "")}
    route = {"source": "edgecontroller", "group": "resource", "operation": operation, "resource": resource}
    return encode({"hub": hub, "header": header, "route": route, "content": {"metadata": {"uid": key}, "data": "x" * size}})


def delete(node, key, msg_id, **more):
    return ack(node, key, None, msg_id, operation="delete", force=True, **more)


def once(node, msg_id="once", operation="update", resource="default/lease/l", source="edgecontroller"):
    route = {"source": source, "group": "resource", "operation": operation, "resource": resource}
    return encode({"hub": {"kind": "once", "node": node}, "header": {"msg_id": msg_id}, "route": route, "content": "c"})


def event(name, node=None, session=None, parent=None, again=False):
    hub = {"kind": "event"}
    if node:
        hub["node"] = node
    if session is not None:
        hub["session"] = session
    hub["event"] = name
    if again:
        hub["again"] = True
    header = {"msg_id": "e"} | ({"parent_msg_id": parent} if parent else {})
    route = {"source": "cloudhub", "group": "resource", "operation": name, "resource": f"node/{node}" if node else "node"}
    return encode({"hub": hub, "header": header, "route": route, "content": {}})


def answer(node, msg_id, session=1, operation="response", content="OK"):
    route = {"source": "edgecontroller", "group": "resource", "operation": operation, "resource": "default/configmap/a"}
    header = {"msg_id": "a" + msg_id, "parent_msg_id": msg_id}
    return encode({"hub": {"kind": "up", "node": node, "session": session}, "header": header, "route": route, "content": content})


def query(command, state, *options):
    """The JSON lines of `hub-queue list`, `syncs` or `nodes`."""
    done = subprocess.run([QUEUE, command, "--state", str(state), *options], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def keys(state):
    return [row["key"] for row in query("list", state)]


def until(condition, seconds=10):
    """Waits until `condition()` is true, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Queue:
    """A running hub-queue. Ends with the `with` block, however that ends."""

    def __init__(self, directory, *options, feedback=True, start=True):
        self.directory = Path(directory)
        self.state = self.directory / "queue.db"
        self.options = list(options)
        self.feedback_path = self.directory / "feedback"
        self.uses_feedback = feedback
        if feedback and not self.feedback_path.exists():
            os.mkfifo(self.feedback_path, 0o600)
        # Both ends, so that the FIFO lives on while the program is restarted.
        self.feedback_end = os.open(self.feedback_path, os.O_RDWR) if feedback else None
        self.process = None
        if start:
            self.start()

    def start(self):
        self.abandoned = False
        options = ["--feedback", str(self.feedback_path)] if self.uses_feedback else []
        self.process = subprocess.Popen(
            [QUEUE, "--state", str(self.state), *options, *self.options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self.errors = []
        self.reading = threading.Event()
        self.reading.set()
        self.threads = [threading.Thread(target=self.collect, daemon=True), threading.Thread(target=self.collect_errors, daemon=True)]
        for thread in self.threads:
            thread.start()
        # Signals are taken from here on.
        until(lambda: any("event=queue_opened" in line for line in self.errors) or self.process.poll() is not None)
        return self

    def collect(self):
        stream = self.process.stdout
        out, lines = stream.fileno(), self.lines
        buffer = b""
        while not self.abandoned:
            self.reading.wait()
            # Never blocked in a read, so that a test can close the pipe.
            if not select.select([out], [], [], 0.05)[0] or not self.reading.is_set():
                continue
            data = os.read(out, 1 << 16)
            if not data:
                return
            *complete, buffer = (buffer + data).split(b"\n")
            now = time.monotonic()
            lines += [(now, line) for line in complete if line]

    def collect_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.decode().rstrip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reading.set()
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            for thread in self.threads:
                thread.join(10)
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        if self.feedback_end is not None:
            os.close(self.feedback_end)

    # Input

    def cloud(self, *lines):
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def end_cloud(self):
        self.process.stdin.close()

    def feedback(self, *lines):
        data = b"".join(lines)
        while data:
            select.select([], [self.feedback_end], [], 10)
            data = data[os.write(self.feedback_end, data):]

    def connect(self, *nodes, session=1):
        self.feedback(*(event("connected", node, session) for node in nodes))

    # Output

    def messages(self):
        return [json.loads(line) for _, line in list(self.lines)]

    def sent(self, node=None):
        """Ids of the messages sent so far, in order."""
        return [
            m["header"]["msg_id"] for m in self.messages()
            if m["hub"]["kind"] in ("ack", "once") and (node is None or m["hub"]["node"] == node)]

    def times(self, msg_id):
        return [at for at, line in list(self.lines) if json.loads(line)["header"]["msg_id"] == msg_id]

    def events(self, name):
        return [m for m in self.messages() if m["hub"].get("event") == name]

    def wait_sent(self, *msg_ids, seconds=10):
        """Waits until exactly these have been sent."""
        try:
            until(lambda: len(self.sent()) >= len(msg_ids), seconds)
        except AssertionError:
            pass
        assert self.sent() == list(msg_ids)

    def wait_keys(self, *expected):
        try:
            until(lambda: keys(self.state) == list(expected))
        except AssertionError:
            assert keys(self.state) == list(expected)

    # Control

    def counters(self):
        before = len([line for line in self.errors if "event=counters" in line])
        self.process.send_signal(signal.SIGUSR1)
        line = until(lambda: ([x for x in self.errors if "event=counters" in x][before:] or [None])[0])
        return {k: int(v) for k, v in (word.split("=") for word in line.split() if "=" in word) if v.isdigit()}

    def settle(self):
        """Returns once everything written to the feedback before has been taken."""
        before = self.counters()["unknown_refusals"]
        self.feedback(answer("nobody", "settle", operation="error"))
        until(lambda: self.counters()["unknown_refusals"] > before)

    def kill(self):
        self.process.kill()
        self.wait_end(-signal.SIGKILL)

    def abandon(self):
        """Closes the reading end of the program's output."""
        self.abandoned = True
        self.threads.pop(0).join(10)
        self.process.stdout.close()

    def terminate(self, status=0):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == status

    def wait_end(self, status=0, seconds=30):
        assert self.process.wait(seconds) == status
        for thread in self.threads:
            thread.join(10)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """Bytes of memory in use."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
