"""Readiness: NOTIFY_SOCKET as of sd_notify(3), --notify-fd, and `hub run --ready-file`. Nothing is ready before it works."""

import os
import shutil
import signal
import socket
import threading
import time

import pytest

from conftest import BIN, Hub, Process, leftovers, program, run, wait_until
from test_launcher import ENVIRONMENT, HUB


class Manager:
    """What a service manager does with its socket: it takes every datagram, and closes the descriptors that come along."""

    def __init__(self, address):
        self.name = address
        self.said = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
            except OSError:
                return
            if not data:
                return
            for descriptor in descriptors:
                os.close(descriptor)
            self.said.append(data.decode())

    @property
    def states(self):
        return [text for text in self.said if not text.startswith("BARRIER")]

    def wait(self, text, timeout=20):
        wait_until(lambda: text in self.said, timeout, f"{text} among {self.said}")

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@hub-test-{os.getpid()}-{time.monotonic_ns()}")
    yield made
    made.close()


def arguments(stage, tmp_path):
    """A command line of a stage, and the file with its port."""
    port = tmp_path / "port"
    if stage == "certs":
        assert run([program("hub-certs"), "prepare", "--dir", str(tmp_path / "home")]).returncode == 0
        return [program("hub-certs"), "serve", "--dir", str(tmp_path / "home"), "--listen", "127.0.0.1:0", "--print-port", str(port)], port
    if stage == "wsserve":
        return [program("hub-wsserve"), "--insecure", "--listen", "127.0.0.1:0", "--print-port", str(port)], port
    feedback = tmp_path / "feedback"
    return {
        "down": [program("hub-dispatch"), "down"],
        "up": [program("hub-dispatch"), "up", "--feedback", os.devnull],
        "keepalive": [program("hub-keepalive"), "--control", os.devnull],
        "queue": [program("hub-queue"), "--state", str(tmp_path / "q.db"), "--feedback", str(feedback)],
    }[stage], None


STAGES = ("down", "queue", "wsserve", "keepalive", "up", "certs")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_how_it_is(stage, manager, tmp_path):
    os.mkfifo(tmp_path / "feedback")
    words, port = arguments(stage, tmp_path)
    process = Process(words, env={**os.environ, "NOTIFY_SOCKET": manager.name})
    try:
        manager.wait("READY=1")
        if port is not None:
            with socket.create_connection(("127.0.0.1", int(port.read_text())), 5):
                pass
        before = time.monotonic_ns() // 1000
        process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(manager.states) == 3, what="the reload")
        first, second = manager.states[1].split("\n")
        assert first == "RELOADING=1" and before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert process.stop() == 0
        wait_until(lambda: len(manager.states) >= 4, what="the end")
        assert manager.states[2:] == ["READY=1", "STOPPING=1"]
    finally:
        process.kill()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_writes_one_newline_and_closes(stage, tmp_path):
    os.mkfifo(tmp_path / "feedback")
    words, _ = arguments(stage, tmp_path)
    reader, writer = os.pipe()
    process = Process([*words, "--notify-fd", str(writer)], pass_fds=[writer])
    os.close(writer)
    try:
        with open(reader, "rb") as stream:
            assert stream.read() == b"\n", "and the end, while the program goes on"
        assert process.process.poll() is None
        assert process.stop() == 0
    finally:
        process.kill()


def is_silent(descriptor, seconds=0.7):
    os.set_blocking(descriptor, False)
    time.sleep(seconds)
    try:
        return os.read(descriptor, 1) == b"nothing"
    except BlockingIOError:
        return True


def test_not_ready_before_an_output_has_its_reader(tmp_path):
    control = tmp_path / "control"
    os.mkfifo(control)
    reader, writer = os.pipe()
    process = Process([program("hub-keepalive"), "--control", str(control), "--notify-fd", str(writer)], pass_fds=[writer])
    os.close(writer)
    try:
        process.wait_errors(b"waiting_for_reader")
        assert is_silent(reader)
        other = os.open(control, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        assert os.read(reader, 10) == b"\n"
        os.close(other)
        process.stop()
    finally:
        process.kill()
        os.close(reader)


def test_what_fails_has_not_been_ready(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    environment = {**os.environ, "NOTIFY_SOCKET": manager.name}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run([program("hub-wsserve"), "--insecure", "--listen", address], env=environment).returncode == 73
    (tmp_path / "q.db").write_bytes(b"no database" * 1000)
    assert run([program("hub-queue"), "--state", str(tmp_path / "q.db")], env=environment).returncode == 78
    time.sleep(0.2)
    assert manager.said == []
    manager.close()


def test_a_descriptor_that_is_not_open_and_one_that_is_taken(tmp_path):
    done = run([program("hub-dispatch"), "down", "--notify-fd", "77"])
    assert (done.returncode, done.stderr) == (73, b"hub-dispatch: cannot write to descriptor 77: Bad file descriptor\n")
    assert run([program("hub-dispatch"), "down", "--notify-fd", "1"]).returncode == 64


def test_a_manager_that_is_gone_ends_nobody(tmp_path):
    done = run([program("hub-dispatch"), "down"], env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "none")})
    assert done.returncode == 0
    assert done.stderr == b'level=warn event=notify_failed reason="cannot reach %s/none: No such file or directory"\n' % os.fsencode(tmp_path)
    done = run([program("hub-service"), "notify", "READY=1"], env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "none")})
    assert done.returncode == 74 and done.stderr.startswith(b"hub-service: cannot reach ")
    assert run([program("hub-service"), "notify", "READY=1"]).returncode == 0, "without a manager there is nothing to say"
    assert run([program("hub-service"), "notify", "READY"]).returncode == 64


def test_notify_waits_until_it_was_heard(manager):
    done = run([program("hub-service"), "notify", "READY=1", "STATUS=all is well"], env={**os.environ, "NOTIFY_SOCKET": manager.name})
    assert (done.returncode, done.stderr) == (0, b"")
    wait_until(lambda: len(manager.said) == 2)
    assert manager.said == ["READY=1\nSTATUS=all is well", "BARRIER=1"]


# ------------------------------------------------------------------------------------------------------------------- the whole hub


@pytest.fixture
def hub_of(tmp_path):
    hubs = []

    def start(*options, **settings):
        hubs.append(Hub(tmp_path / "hub", *options, **settings))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.kill()
    assert leftovers(tmp_path) == []


def reachable(port):
    with socket.create_connection(("127.0.0.1", port), 5):
        return True


@pytest.mark.whole_hub
def test_the_hub_is_ready_when_all_stages_are(hub_of, manager, tmp_path):
    ready = tmp_path / "ready"
    hub = hub_of("--ready-file", str(ready), environment={"NOTIFY_SOCKET": manager.name})
    manager.wait("READY=1", 60)
    assert int(ready.read_text()) == hub.process.pid
    assert reachable(int((hub.run / "wss.port").read_text())) and reachable(int((hub.run / "https.port").read_text()))
    for stage in STAGES:
        environment = open(f"/proc/{hub.pid(stage)}/environ", "rb").read().split(b"\0")
        assert not [part for part in environment if part.startswith(b"NOTIFY_SOCKET=")], stage
    # A stage that comes back is no news.
    os.kill(hub.pid("queue"), signal.SIGKILL)
    hub.wait_errors(b"stage=queue")
    with hub.connect("edge-0"):
        pass
    assert hub.stop() == 0
    assert not ready.exists()
    assert manager.states == ["READY=1", "STOPPING=1"]


@pytest.mark.whole_hub
@pytest.mark.parametrize("number", range(3, 10))
def test_the_hub_writes_to_a_descriptor_and_closes_it(number, tmp_path):
    reader, writer = os.pipe()
    ports = ["--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"]
    # The shell puts the pipe where the hub looks for it; the input has ended before anything is ready.
    script = f'exec {number}>&"$1"; shift; exec "$@" </dev/null'
    command = ["bash", "-c", script, "sh", str(writer), HUB, "run", "--dir", str(tmp_path / "hub"), "--run-dir", str(tmp_path / "run"), *ports]
    process = Process([*command, "--notify-fd", str(number)], pass_fds=[writer], env=ENVIRONMENT)
    os.close(writer)
    try:
        with open(reader, "rb") as stream:
            assert stream.read(1) == b"\n"
        assert process.stop() == 0, process.errors
    finally:
        process.kill()
    assert leftovers(tmp_path) == []


@pytest.mark.whole_hub
def test_the_hub_is_not_ready_before_its_last_stage(hub_of, tmp_path):
    programs, gate, ready = tmp_path / "bin", tmp_path / "gate", tmp_path / "ready"
    shutil.copytree(BIN, programs, ignore=lambda _, names: [name for name in names if not name.startswith("hub-") or "." in name])
    (programs / "hub-wsserve").rename(programs / "real")
    (programs / "hub-wsserve").write_text(f'#!/bin/sh\nuntil [ -e "{gate}" ]; do sleep 0.05; done\nexec "{programs}/real" "$@"\n')
    (programs / "hub-wsserve").chmod(0o755)
    hub = hub_of("--ready-file", str(ready), environment={"HUB_BIN_DIR": str(programs)})
    assert hub.https
    wait_until(lambda: (hub.run / "up.ready").read_bytes() == b"\n", what="the other stages")
    time.sleep(0.5)
    assert not ready.exists() and not (hub.run / "wss.port").exists()
    gate.touch()
    wait_until(ready.exists, what="the hub")
    assert (hub.run / "wss.port").exists()
    assert hub.stop() == 0


@pytest.mark.whole_hub
def test_a_hub_that_fails_has_not_been_ready(tmp_path):
    manager, ready = Manager(str(tmp_path / "notify")), tmp_path / "ready"
    ready.write_text("of another time")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [HUB, "run", "--dir", str(tmp_path / "hub"), "--run-dir", str(tmp_path / "run"), "--listen", address, "--certs-listen", "127.0.0.1:0"]
        done = run([*command, "--ready-file", str(ready)], env={**ENVIRONMENT, "NOTIFY_SOCKET": manager.name})
    assert done.returncode == 73
    assert not ready.exists()
    assert manager.states == ["STOPPING=1"]
    assert b"hub_ready" not in done.stderr
    manager.close()
    assert leftovers(tmp_path) == []


@pytest.mark.whole_hub
@pytest.mark.parametrize(
    "options, status, text",
    [
        (("--notify-fd", "2"), 64, b"--notify-fd is a descriptor from 3 to 9"), (("--notify-fd", "7"), 73, b"cannot write to descriptor 7"),
        (("--ready-file", "none/ready"), 73, b"cannot create none/ready"),
    ],
)  # fmt: skip
def test_a_hub_that_cannot_tell(options, status, text, tmp_path):
    done = run([HUB, "run", "--dir", str(tmp_path / "hub"), "--run-dir", str(tmp_path / "run"), *options], cwd=tmp_path, env=ENVIRONMENT)
    assert (done.returncode, text in done.stderr) == (status, True), done.stderr
    assert not (tmp_path / "run").exists()
