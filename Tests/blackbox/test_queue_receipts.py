"""hub-queue --receipts: what a producer is told, when, and what a receipt is worth."""

import json
import os
import random
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from test_queue_kit import BIN, QUEUE, Queue, ack, answer, delete, encode, event, keys, once, query, until


class Receipts(threading.Thread):
    """Reads a FIFO of receipts, whichever process writes it."""

    def __init__(self, path):
        super().__init__(daemon=True)
        os.mkfifo(path, 0o600)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.lines = []
        self.torn = 0
        self.reading = threading.Event()
        self.reading.set()
        self.stopped = False
        self.start()

    def run(self):
        buffer = b""
        while not self.stopped:
            if not self.reading.is_set() or not select.select([self.end], [], [], 0.02)[0]:
                time.sleep(0.001)
                continue
            data = os.read(self.end, 1 << 16)
            *complete, buffer = (buffer + data).split(b"\n")
            for line in complete:
                try:
                    self.lines += [json.loads(line)] if line else []
                except ValueError:
                    # A queue that was killed left a half; its successor has ended the line.
                    self.torn += 1
            if not data:
                time.sleep(0.001)

    def fates(self):
        return [(line["msg_id"], line["fate"]) for line in self.lines]

    def close(self):
        if not self.stopped:
            self.stopped = True
            self.join(5)
            os.close(self.end)


@pytest.fixture
def receipts(tmp_path):
    reader = Receipts(tmp_path / "receipts")
    yield reader
    reader.close()


def run(tmp_path, *options, **more):
    return Queue(tmp_path, "--reconcile", "3600", "--receipts", str(tmp_path / "receipts"), *options, **more)


def wait_fates(receipts, *expected):
    try:
        until(lambda: len(receipts.lines) >= len(expected))
    except AssertionError:
        pass
    assert receipts.fates() == list(expected)


# What is told


def test_each_message_gets_one_receipt_in_order(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.cloud(ack("n", "a", 5, "a5"))
        wait_fates(receipts, ("a5", "accepted"))
        assert receipts.lines[0] == {"msg_id": "a5", "node": "n", "key": "a", "version": "5", "fate": "accepted"}
        queue.cloud(ack("n", "a", 5, "same"), ack("n", "a", 4, "lower"), once("n"), delete("n", "a", "gone"))
        queue.cloud(ack("n", "a", 9, "late"), ack("n", "b", "1x", "bad"), ack("n", "c", 1, "reply", operation="response", reply=True))
        wait_fates(receipts, ("a5", "accepted"), ("same", "stale"), ("lower", "stale"), ("gone", "accepted"), ("late", "stale"),
                   ("bad", "refused"), ("reply", "stale"))
        reasons = {line["msg_id"]: line.get("reason") for line in receipts.lines}
        assert reasons == {
            "a5": None, "same": "not newer than the pending version", "lower": "not newer than the pending version", "gone": None,
            "late": "the deletion of its key is pending", "bad": reasons["bad"], "reply": "a reply, and the node is offline"}
        assert "version" in reasons["bad"]
        assert receipts.lines[3] == {"msg_id": "gone", "node": "n", "key": "a", "version": "", "fate": "accepted"}


def test_not_newer_than_what_the_node_has_is_stale(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 5, "a5"), ack("n", "r", 1, "reply", operation="response", reply=True))
        until(lambda: len(queue.sent()) == 2)
        queue.feedback(answer("n", "a5"))
        queue.settle()
        queue.cloud(ack("n", "a", 5, "again"))
        wait_fates(receipts, ("a5", "accepted"), ("reply", "accepted"), ("again", "stale"))
        assert receipts.lines[1]["reason"] == "a reply, held for the session only"
        assert receipts.lines[2]["reason"] == "not newer than the acknowledged version"


def test_replaced_before_its_commit_is_superseded(tmp_path, receipts):
    with run(tmp_path) as queue:
        # One write is one read, and what comes with one read is committed together.
        queue.cloud(b"".join([ack("n", "a", 1, "a1"), ack("n", "b", 1, "b1"), ack("n", "a", 2, "a2"), delete("n", "a", "a3")]))
        wait_fates(receipts, ("a1", "superseded"), ("b1", "accepted"), ("a2", "superseded"), ("a3", "accepted"))
        queue.cloud(ack("n", "b", 2, "b2"))
        wait_fates(receipts, ("a1", "superseded"), ("b1", "accepted"), ("a2", "superseded"), ("a3", "accepted"), ("b2", "accepted"))


def test_what_goes_with_its_node_before_its_commit_is_superseded(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.cloud(b"".join([ack("n", "a", 1, "a1"), ack("m", "a", 1, "m1"), once("n", operation="delete", resource="default/node/n")]))
        wait_fates(receipts, ("a1", "superseded"), ("m1", "accepted"))
        assert receipts.lines[0]["reason"] == "its node was deleted"


def test_lines_that_are_no_messages_get_none(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.cloud(b"no json\n", b'{"hub":{"kind":"ack"},"header":{},"route":{}}\n', event("connected", "n", 1), ack("n", "a", 1, "a1"))
        wait_fates(receipts, ("a1", "accepted"))


def test_escapes_stay_as_they_came(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.cloud(ack("n", 'k"\u00e9\n', 1, "id\\\u2028"))
        until(lambda: receipts.lines)
        assert (receipts.lines[0]["key"], receipts.lines[0]["msg_id"]) == ('k"\u00e9\n', "id\\\u2028")


def test_without_feedback_too(tmp_path):
    path = tmp_path / "receipts"
    for number in range(2):
        done = subprocess.run(
            [QUEUE, "--state", tmp_path / "q.db", "--receipts", path], input=ack("n", "a", number, f"m{number}") * 2, capture_output=True,
            timeout=60)
        assert done.returncode == 0
    lines = [json.loads(line) for line in path.read_text().splitlines() if line]
    assert [(line["msg_id"], line["fate"]) for line in lines] == [("m0", "accepted"), ("m0", "stale"), ("m1", "accepted"), ("m1", "stale")]
    assert path.stat().st_mode & 0o777 == 0o600


# What a receipt is worth


@pytest.mark.parametrize("seed", range(4))
def test_a_message_with_a_receipt_survives_a_kill(tmp_path, receipts, seed):
    rng = random.Random(seed)
    number = 0
    newest = {}  # by key, of those with a receipt
    offered = []  # without one
    for round in range(25):
        with run(tmp_path) as queue:
            if rng.random() < 0.5:
                queue.connect("n", session=round + 1)
            known = len(receipts.lines)
            for _ in range(rng.randrange(1, 60)):
                number += 1
                offered.append((f"k{rng.randrange(30)}", number))
            # What has no receipt is offered again, in order.
            lines = [ack("n", key, version, f"m{version}", size=rng.choice([0, 0, 500, 20000])) for key, version in offered]
            writer = threading.Thread(target=lambda: swallow(lambda: queue.cloud(*lines)), daemon=True)
            writer.start()
            # Killed at once after some receipt, or at any other moment.
            wanted = known + rng.randrange(len(offered) + 1)
            until(lambda: len(receipts.lines) >= wanted)
            if rng.random() < 0.5:
                time.sleep(rng.random() * 0.02)
            queue.process.kill()
            queue.process.wait()
            writer.join(10)
        time.sleep(0.05)
        told = {line["msg_id"]: line["fate"] for line in receipts.lines[known:]}
        assert set(told.values()) <= {"accepted", "superseded", "stale"}
        for key, version in offered:
            if told.get(f"m{version}") == "accepted":
                newest[key] = max(newest.get(key, 0), version)
        offered = [(key, version) for key, version in offered if f"m{version}" not in told]
        pending = {row["key"]: int(row["version"]) for row in query("list", tmp_path / "queue.db")}
        for key, version in newest.items():
            assert pending.get(key, 0) >= version, f"{key} {version} has a receipt and is lost"
    # In the end each has one.
    with run(tmp_path) as queue:
        known = len(receipts.lines)
        queue.cloud(*(ack("n", key, version, f"m{version}") for key, version in offered))
        until(lambda: len(receipts.lines) - known == len(offered))


def swallow(call):
    try:
        call()
    except (BrokenPipeError, ValueError):
        pass


def test_nothing_is_promised_while_the_file_cannot_be_written(tmp_path, receipts):
    import sqlite3

    with run(tmp_path) as queue:
        queue.cloud(ack("n", "a", 1, "a1"))
        wait_fates(receipts, ("a1", "accepted"))
        lock = sqlite3.connect(queue.state, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        queue.cloud(ack("n", "b", 1, "b1"), ack("n", "a", 1, "again"))
        until(lambda: any("event=store_failed" in line for line in queue.errors))
        time.sleep(0.7)
        assert len(receipts.lines) == 1
        lock.execute("ROLLBACK")
        lock.close()
        wait_fates(receipts, ("a1", "accepted"), ("b1", "accepted"), ("again", "stale"))


# Its reader


def test_a_fifo_without_reader_is_73(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    started = time.monotonic()
    done = subprocess.run([QUEUE, "--state", tmp_path / "q.db", "--receipts", tmp_path / "fifo"], input=b"", capture_output=True, timeout=60)
    assert done.returncode == 73 and b"waiting_for_reader" in done.stderr
    assert 9 < time.monotonic() - started < 20
    done = subprocess.run([QUEUE, "--state", tmp_path / "q.db", "--receipts", tmp_path / "no" / "file"], input=b"", capture_output=True)
    assert done.returncode == 73


def test_a_gone_reader_is_74(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.cloud(ack("n", "a", 1, "a1"))
        wait_fates(receipts, ("a1", "accepted"))
        receipts.close()
        queue.cloud(ack("n", "b", 1, "b1"))
        queue.wait_end(74)
        assert any("receipts" in line for line in queue.errors)
        # The message is on disk all the same.
        assert keys(queue.state) == ["a", "b"]


def test_a_reader_that_stands_still_stops_the_input_and_nothing_else(tmp_path, receipts):
    count = 30000
    with run(tmp_path, "--receipts-hold", "64KiB", "--receipts-spill", "64KiB", "--spill-dir", str(tmp_path)) as queue:
        queue.connect("n")
        queue.cloud(ack("n", "first", 1, "first"))
        wait_fates(receipts, ("first", "accepted"))
        receipts.reading.clear()
        before = queue.resident()
        writer = threading.Thread(target=lambda: queue.cloud(*(ack("off", f"k{i}", 1, f"m{i}") for i in range(count))), daemon=True)
        writer.start()
        until(lambda: queue.counters()["receipts_spilled_bytes"] >= 64 << 10)
        time.sleep(0.5)
        taken = queue.counters()["accepted"]
        time.sleep(0.3)
        assert queue.counters()["accepted"] == taken < count and writer.is_alive()
        assert queue.counters()["receipts_pending_bytes"] < 1_000_000
        assert queue.resident() - before < 30_000_000
        # Feedback is read, and what nodes are to get goes on.
        queue.feedback(answer("n", "first"), once("n", "still", operation="response", resource="k8s/ca.crt"))
        until(lambda: "still" in queue.sent())
        until(lambda: queue.counters()["acked"] == 1)
        receipts.reading.set()
        until(lambda: len(receipts.lines) == count + 1, 60)
        assert receipts.fates() == [("first", "accepted")] + [(f"m{i}", "accepted") for i in range(count)]
        assert queue.counters()["receipts_pending_bytes"] == 0
        # The unnamed file is gone with its name from the start.
        assert not [path for path in tmp_path.iterdir() if "spill" in path.name]


def test_the_end_does_not_wait_for_a_reader_that_stands_still(tmp_path, receipts):
    with run(tmp_path) as queue:
        queue.cloud(ack("n", "first", 1, "first"))
        wait_fates(receipts, ("first", "accepted"))
        receipts.reading.clear()
        queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}") for i in range(3000)))
        until(lambda: queue.counters()["receipts_pending_bytes"] > 0 and queue.counters()["accepted"] == 3001)
        started = time.monotonic()
        queue.terminate(0)
        assert 3 < time.monotonic() - started < 10
        until(lambda: any("receipts_given_up" in line for line in queue.errors))
        assert len(keys(queue.state)) == 3001


def test_the_whole_hub_has_receipts_too(tmp_path):
    """The launcher holds the FIFO open: the reader may leave and come back, and the queue may be killed."""
    fifo = tmp_path / "receipts"
    os.mkfifo(fifo)
    launcher = Path(__file__).parents[2] / "bin" / "hub"
    command = [launcher, "run", "--dir", tmp_path / "hub", "--run-dir", tmp_path / "run", "--listen", "127.0.0.1:0", "--certs-listen", "none",
               "--advertise", "127.0.0.1", "--receipts", fifo]

    def plain(number):
        header = {"msg_id": f"m{number}", "resourceversion": str(number)}
        route = {"source": "edgecontroller", "group": "resource", "operation": "update", "resource": "node/n/default/configmap/c"}
        return encode({"header": header, "route": route, "content": {"metadata": {"uid": "u"}}})

    hub = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"HUB_BIN_DIR": str(BIN)})
    log = threading.Thread(target=hub.stderr.read, daemon=True)
    log.start()
    try:
        for number in (1, 2):
            hub.stdin.write(plain(number))
            hub.stdin.flush()
            with open(fifo, "rb", buffering=0) as reader:
                data = b""
                deadline = time.monotonic() + 20
                while b"m%d" % number not in data and time.monotonic() < deadline:
                    if select.select([reader], [], [], 1)[0]:
                        data += reader.read(65536)
            assert [(r["msg_id"], r["fate"]) for r in map(json.loads, data.split())] == [(f"m{number}", "accepted")]
            if number == 1:
                os.kill(int((tmp_path / "run" / "queue.pid").read_text().split()[0]), signal.SIGKILL)
                until(lambda: (tmp_path / "run" / "queue.pid").read_text().split()[1] == "1", 20)
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(30) == 0
    finally:
        if hub.poll() is None:
            hub.terminate()
            try:
                hub.wait(15)
            except subprocess.TimeoutExpired:
                hub.send_signal(signal.SIGTERM)
                hub.wait(15)
        log.join(5)
        hub.stderr.close()
