"""Fixtures for tests of the built programs. HUB_BIN_DIR names their directory (default: .build/debug)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("HUB_BIN_DIR", ROOT / ".build" / "debug")).resolve()
SHARED = ROOT.parent / "shared"
WIRE = Path(__file__).parent / "wire"
STAGES = ("down", "queue", "wsserve", "keepalive", "up")

# Figures of the tests must not depend on how the user has set up a hub.
for name in [name for name in os.environ if name.startswith("HUB_") and name not in ("HUB_BIN_DIR", "HUB_REWRITE")]:
    del os.environ[name]


def program(name):
    return str(BIN / name)


def run(arguments, data=b"", timeout=60, **options):
    """Runs a program to its end; both outputs are read at once."""
    return subprocess.run(arguments, input=data, capture_output=True, timeout=timeout, **options)


def wait_until(condition, timeout=20, what="the condition"):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout} s in vain for {what}")


def config_map(node, name, version, data=None, uid=None, operation="update"):
    """A plain line for one node, as bytes with its newline."""
    return line(
        {"msg_id": f"{node}-{name}-{version}", "timestamp": int(time.time() * 1000), "resourceversion": str(version)},
        {"source": "edgecontroller", "group": "resource", "operation": operation, "resource": f"node/{node}/default/configmap/{name}"},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{node}-{name}", "resourceVersion": str(version)},
            "data": data or {"k": "v"},
        },
    )


def line(header, route, content):
    return json.dumps({"header": header, "route": route, "content": content}, separators=(",", ":")).encode() + b"\n"


class Process:
    """A program under test: its input is ours, its outputs are read all the time."""

    def __init__(self, arguments, stdin=subprocess.PIPE, **options):
        self.lines, self.errors = [], []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self._threads = [
            threading.Thread(target=self._read, args=(stream, target), daemon=True)
            for stream, target in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream, target):
        for part in stream:
            with self._changed:
                target.append(part)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close_input(self):
        self.process.stdin.close()

    def _wait(self, source, condition, timeout, what):
        with self._changed:
            if not self._changed.wait_for(lambda: condition(source), timeout):
                raise AssertionError(f"waited {timeout} s in vain for {what}\nlast lines: {source[-5:]}\nerrors: {self.errors[-20:]}")
            return list(source)

    def wait_lines(self, condition, timeout=20):
        return self._wait(self.lines, condition, timeout, "output")

    def wait_errors(self, text, timeout=20):
        return self._wait(self.errors, lambda lines: any(text in part for part in lines), timeout, f"{text!r} on standard error")

    def messages(self):
        with self._changed:
            return [json.loads(part) for part in self.lines if part.strip()]

    def wait_message(self, condition, timeout=20):
        """The first output message for which `condition` holds."""

        def found(_):
            return any(condition(json.loads(part)) for part in self.lines if part.strip())

        self._wait(self.lines, found, timeout, "a message")
        return next(message for message in self.messages() if condition(message))

    def stop(self, timeout=20):
        """SIGTERM, and the status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=20):
        status = self.process.wait(timeout)
        for thread in self._threads:
            thread.join(10)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Hub(Process):
    """`hub run` on free ports of the loopback address, in a directory of its own."""

    def __init__(self, directory, *options, environment=None):
        self.directory = Path(directory)
        self.run = self.directory / "run"
        self.state = self.directory / "queue.db"
        super().__init__(
            [
                str(ROOT / "bin" / "hub"), "run", "--dir", str(self.directory), "--run-dir", str(self.run), "--listen", "127.0.0.1:0",
                "--certs-listen", "127.0.0.1:0", "--advertise", "127.0.0.1", *options,
            ],
            env={**os.environ, "HUB_BIN_DIR": str(BIN), **(environment or {})},
        )

    def _port(self, name):
        def read():
            assert self.process.poll() is None, b"".join(self.errors)
            try:
                return int((self.run / name).read_text())
            except (OSError, ValueError):
                return None

        return wait_until(read, what=f"{name} of the hub")

    @property
    def wss(self):
        return self._port("wss.port")

    @property
    def https(self):
        return self._port("https.port")

    def token(self):
        self._port("https.port")
        done = run([program("hub-certs"), "token", "--dir", str(self.directory)])
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def pid(self, stage):
        return int((self.run / f"{stage}.pid").read_text().split()[0])

    def queue(self, what):
        """`hub-queue list|syncs|nodes` while the hub runs."""
        done = run([program("hub-queue"), what, "--state", str(self.state)])
        assert done.returncode == 0, done.stderr
        return [json.loads(part) for part in done.stdout.splitlines()]

    def join(self, node):
        import edge

        return edge.join(node, self.https, self.token(), self.directory / "edges")

    def connect(self, node, identity=None, **options):
        import edge

        return edge.Edge(node, self.wss, identity or self.join(node), **options)


@pytest.fixture
def hub(tmp_path):
    """A running hub; it must end by SIGTERM with status 0 and leave no process."""
    running = Hub(tmp_path / "hub")
    yield running
    try:
        assert running.stop() == 0, b"".join(running.errors).decode()
    finally:
        running.kill()
        assert leftovers(tmp_path) == []


def leftovers(path):
    """Command lines of processes that still name `path`; the guard of a killed hub gets a moment."""

    def alive():
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(path) in command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        return found

    deadline = time.monotonic() + 15
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive()


def pytest_report_header():
    return f"programs: {BIN}; {'' if SHARED.is_dir() else 'no '}material beside the source tree; {sys.version.split()[0]}"


def pytest_sessionstart(session):
    missing = [name for name in ("hub-dispatch", "hub-queue", "hub-wsserve", "hub-keepalive", "hub-certs") if not (BIN / name).is_file()]
    session.config.missing_programs = missing


def pytest_collection_modifyitems(config, items):
    for item in items:
        if config.missing_programs and ("hub" in item.fixturenames or item.get_closest_marker("whole_hub")):
            item.add_marker(pytest.mark.skip(reason=f"not built: {', '.join(config.missing_programs)}"))


def pytest_configure(config):
    config.addinivalue_line("markers", "whole_hub: needs every program of the hub")
    if shutil.which("websocat") is None:
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
