"""hub-queue and its state file: kills, full disks, damaged files, many rows, the ends of its input and output."""

import fcntl
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from test_queue_kit import QUEUE, Queue, ack, answer, delete, encode, event, keys, once, query, until


def fill(state, data, *options, **more):
    return subprocess.run([QUEUE, "--state", str(state), *options], input=data, capture_output=True, timeout=120, **more)


# Ends


def test_without_feedback_it_stores_and_ends(tmp_path):
    done = fill(tmp_path / "q.db", ack("n", "a", 1, "a") + ack("m", "b", 2, "b"))
    assert (done.returncode, done.stdout) == (0, b"")
    assert [(row["node"], row["key"]) for row in query("list", tmp_path / "q.db")] == [("n", "a"), ("m", "b")]
    assert [(row["node"], row["pending"], row["online"]) for row in query("nodes", tmp_path / "q.db")] == [("m", 1, False), ("n", 1, False)]


def test_several_inputs_and_a_last_line_without_newline(tmp_path):
    (tmp_path / "one").write_bytes(ack("n", "a", 1, "a"))
    (tmp_path / "two").write_bytes(ack("n", "b", 1, "b")[:-1])
    done = fill(tmp_path / "q.db", ack("n", "c", 1, "c"), str(tmp_path / "one"), "-", str(tmp_path / "two"))
    assert done.returncode == 0
    assert sorted(keys(tmp_path / "q.db")) == ["a", "b", "c"]


def test_exit_when_drained_ends_once_the_connected_nodes_have_everything(tmp_path):
    with Queue(tmp_path, "--exit-when-drained") as queue:
        queue.cloud(ack("n", "a", 1, "a"), ack("offline", "b", 1, "b"))
        queue.end_cloud()
        time.sleep(0.3)
        assert queue.process.poll() is None
        queue.connect("n")
        queue.wait_sent("a")
        time.sleep(0.2)
        assert queue.process.poll() is None
        queue.feedback(answer("n", "a"))
        queue.wait_end(0)
        assert keys(queue.state) == ["b"]


def test_with_feedback_it_serves_on_after_the_end_of_its_input(tmp_path):
    with Queue(tmp_path) as queue:
        queue.end_cloud()
        queue.connect("n")
        queue.settle()
        assert queue.process.poll() is None
        queue.terminate()


def test_sigterm_keeps_what_was_read(tmp_path):
    with Queue(tmp_path) as queue:
        queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}") for i in range(200)))
        queue.terminate()
        # Nothing is left beside the file but its lock.
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("queue.db")) == ["queue.db", "queue.db-lock"]
        assert keys(queue.state) == [f"k{i}" for i in range(200)]


def test_gone_reader_is_status_74(tmp_path):
    with Queue(tmp_path, "--reconcile", "0.05") as queue:
        queue.abandon()
        queue.wait_end(74)


# Bad input


def test_bad_lines_are_refused_and_the_good_ones_kept(tmp_path):
    bad = [
        b"not json", b"[1]", b'{"header":{},"route":{},"route":{}}', b'{"header":{"msg_id":"p"},"route":{"resource":"node/n/a/b/c"}}',
        b'{"hub":{"kind":"what","node":"n"},"header":{},"route":{}}', ack("N_", "a", 1, "m")[:-1], ack("n", "a", "1x", "m")[:-1],
        event("connected", "n", 1)[:-1], answer("n", "x")[:-1]]
    lines = b"".join(ack("n", f"good{i}", 1, f"g{i}") + line + b"\n" for i, line in enumerate(bad))
    done = fill(tmp_path / "q.db", lines, "--rejects", str(tmp_path / "rejects"))
    assert done.returncode == 0
    assert keys(tmp_path / "q.db") == [f"good{i}" for i in range(len(bad))]
    assert (tmp_path / "rejects").read_bytes() == b"".join(line + b"\n" for line in bad)
    assert [int(w[5:]) for line in done.stderr.split(b"\n") if b"event=reject" in line for w in line.split() if w[:5] == b"line="] == [
        2 * i + 2 for i in range(len(bad))]
    assert b"no envelope" in done.stderr


def test_strict_ends_with_65(tmp_path):
    done = fill(tmp_path / "q.db", ack("n", "a", 1, "a") + b"bad\n" + ack("n", "b", 1, "b"), "--strict")
    assert done.returncode == 65


@pytest.mark.parametrize("options", [["--window", "0"], ["--attempts", "0"], ["--ack-timeout", "-1"], ["--feedback", "-"], ["--what"]])
def test_wrong_usage_is_64(tmp_path, options):
    assert fill(tmp_path / "q.db", b"", *options).returncode == 64
    assert subprocess.run([QUEUE], input=b"", capture_output=True).returncode == 64


# Kills


def test_committed_messages_survive_a_kill(tmp_path):
    with Queue(tmp_path) as queue:
        queue.connect("n")
        queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}") for i in range(10)), *(ack("off", f"k{i}", 1, f"o{i}") for i in range(10)))
        until(lambda: len(queue.sent()) == 10)
        until(lambda: len(keys(queue.state)) == 20)
        queue.kill()
        before = query("list", queue.state)
        queue.start()
        queue.connect("n", session=2)
        until(lambda: len(queue.sent()) == 10)
        assert queue.sent() == [f"m{i}" for i in range(10)]
        assert query("list", queue.state) == before


def test_newer_version_is_not_sent_before_the_older_is_off_the_disk(tmp_path):
    # The older version is on disk; if the newer left before its commit, a kill would bring the older one back behind it.
    with Queue(tmp_path, "--commit-delay", "1") as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 1, "v1"))
        queue.wait_sent("v1")
        queue.wait_keys("a")
        queue.cloud(ack("n", "a", 2, "v2"))
        queue.feedback(answer("n", "v1"))
        queue.wait_sent("v1", "v2")
        queue.kill()
        assert [row["version"] for row in query("list", queue.state)] == ["2"]


class Edge(threading.Thread):
    """Plays nodes behind a queue that is killed again and again: keeps what a node would have, and acknowledges most of it."""

    def __init__(self, queue, seed):
        super().__init__(daemon=True)
        self.queue = queue
        self.random = random.Random(seed)
        self.has = {}
        self.problems = []
        self.stopped = False

    def run(self):
        lines, seen = self.queue.lines, 0
        while not self.stopped:
            # What a dead process wrote is taken to its end before the next one is listened to.
            if seen >= len(lines):
                if lines is not self.queue.lines:
                    lines, seen = self.queue.lines, 0
                time.sleep(0.001)
                continue
            message = json.loads(lines[seen][1])
            seen += 1
            if message["hub"]["kind"] != "ack":
                continue
            node, path = message["hub"]["node"], message["route"]["resource"]
            number = message["content"]["number"]
            if number < self.has.get((node, path), 0):
                self.problems.append(f"{node} {path}: {number} after {self.has[node, path]}")
            self.has[node, path] = number
            if self.random.random() < 0.9:
                self.queue.feedback(answer(node, message["header"]["msg_id"], message["hub"]["session"]))


@pytest.mark.parametrize("seed", range(3))
def test_random_kills_lose_nothing_and_take_no_node_back(tmp_path, seed):
    rng = random.Random(seed)
    number = 0
    newest = {}
    nodes = [f"n{i}" for i in range(4)]
    with Queue(tmp_path, "--ack-timeout", "0.1", "--window", "8", "--attempts", "3") as queue:
        edge = Edge(queue, seed)
        edge.start()
        for round in range(12):
            session = round + 1
            for node in nodes:
                if rng.random() < 0.8:
                    queue.connect(node, session=session)
            lines = []
            for _ in range(rng.randrange(5, 400)):
                number += 1
                node, key = rng.choice(nodes), f"k{rng.randrange(20)}"
                message = json.loads(ack(node, key, number, f"m{number}"))
                message["content"]["number"] = number
                lines.append((node, f"default/configmap/{key}", number, encode(message)))
            half = len(lines) // 2
            queue.cloud(*(line[3] for line in lines[:half]))
            if rng.random() < 0.3:
                queue.feedback(event("disconnected", rng.choice(nodes), session))
            queue.cloud(*(line[3] for line in lines[half:]))
            # The input is a pipe: what the queue has not read dies with it, so it is given the time to read and commit.
            total = sum(1 for _ in lines)
            until(lambda: queue.counters()["accepted"] >= total)
            time.sleep(rng.random() * 0.1 + 0.01)
            for node, path, n, _ in lines:
                newest[node, path] = n
            until(lambda: queue.counters()["commits"] > 0)
            queue.kill()
            queue.start()
        for node in nodes:
            queue.connect(node, session=1000)
        until(lambda: not keys(queue.state), 60)
        edge.stopped = True
        edge.join()
        assert edge.problems == []
        assert edge.has == newest
        versions = {s["metadata"]["name"]: int(s["status"]["objectResourceVersion"]) for s in query("syncs", queue.state)}
        assert versions == {f"{node}.{path.split('/')[2]}": n for (node, path), n in newest.items()}


# Failing storage


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", path], capture_output=True).returncode != 0:
        pytest.skip("cannot mount a small file system")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_full_disk_stops_the_input_and_loses_nothing(small_disk):
    with Queue(small_disk, "--reconcile", "3600") as queue:
        queue.connect("n")
        count = 400
        writer = threading.Thread(target=lambda: queue.cloud(*(ack("off", f"k{i}", 1, f"m{i}", size=5000) for i in range(count))), daemon=True)
        writer.start()
        until(lambda: any("event=store_failed" in line for line in queue.errors))
        time.sleep(1.5)
        # It says so once, not at each try; it answers; and it has stopped reading.
        assert len([line for line in queue.errors if "store_failed" in line]) == 1
        assert queue.counters()["store_errors"] >= 2
        assert writer.is_alive()
        queue.feedback(once("n", "still", operation="response", resource="k8s/ca.crt"))
        queue.wait_sent("still")
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        until(lambda: any("event=store_recovered" in line for line in queue.errors))
        until(lambda: len(keys(queue.state)) == count)
        assert keys(queue.state) == [f"k{i}" for i in range(count)]
        queue.terminate()


def test_full_disk_at_sigterm_is_status_74(small_disk):
    with Queue(small_disk) as queue:
        queue.cloud(*(ack("off", f"k{i}", 1, f"m{i}", size=5000) for i in range(75)))
        until(lambda: any("event=store_failed" in line for line in queue.errors))
        queue.terminate(74)
        until(lambda: any("cannot be stored" in line for line in queue.errors))


@pytest.mark.parametrize("content", [b"this is no database, it only has the length of one " * 100, b"short"])
def test_file_that_is_no_database_is_refused(tmp_path, content):
    state = tmp_path / "q.db"
    state.write_bytes(content)
    for arguments in ([], ["list"], ["syncs"], ["nodes"]):
        done = subprocess.run([QUEUE, *arguments, "--state", str(state)], input=b"", capture_output=True, timeout=20)
        assert done.returncode == 78
        assert str(state).encode() in done.stderr and done.stderr.count(b"\n") == 1
    assert state.read_bytes() == content


def test_damaged_database_is_refused(tmp_path):
    state = tmp_path / "q.db"
    assert fill(state, b"".join(ack("n", f"k{i}", 1, f"m{i}", size=500) for i in range(200))).returncode == 0
    data = bytearray(state.read_bytes())
    data[4096 * 3:4096 * 9] = os.urandom(4096 * 6)
    state.write_bytes(data)
    done = fill(state, b"")
    assert done.returncode == 78 and str(state).encode() in done.stderr
    state.write_bytes(state.read_bytes()[:4096 * 5])
    done = fill(state, b"")
    assert done.returncode == 78 and str(state).encode() in done.stderr


def test_other_databases_and_newer_schemas_are_refused(tmp_path):
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE t(x)")
    database.commit()
    database.close()
    assert fill(other, b"").returncode == 78
    state = tmp_path / "q.db"
    assert fill(state, ack("n", "a", 1, "a")).returncode == 0
    database = sqlite3.connect(state)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    done = fill(state, b"")
    assert done.returncode == 78 and b"newer" in done.stderr and b"99" in done.stderr
    assert subprocess.run([QUEUE, "list", "--state", state], capture_output=True).returncode == 78


def test_missing_files_and_places(tmp_path):
    assert fill(tmp_path / "none" / "q.db", b"").returncode == 73
    assert subprocess.run([QUEUE, "list", "--state", tmp_path / "none.db"], capture_output=True).returncode == 66
    assert fill(tmp_path / "q.db", b"", str(tmp_path / "no-input")).returncode == 66


def test_one_server_per_file(tmp_path):
    with Queue(tmp_path) as queue:
        started = time.monotonic()
        done = fill(queue.state, b"")
        assert done.returncode == 75 and b"in use" in done.stderr
        assert time.monotonic() - started < 10


def test_state_file_is_private(tmp_path):
    fill(tmp_path / "q.db", ack("n", "a", 1, "a"), umask=0)
    assert (tmp_path / "q.db").stat().st_mode & 0o777 == 0o600


# Looking at the state


def test_look_while_it_serves(tmp_path):
    with Queue(tmp_path) as queue:
        queue.connect("on", session=12)
        queue.cloud(ack("on", "a", 1, "a"), ack("on", "cluster", 7, "c", resource="null/clusterrole/admin"), ack("off", "b", 1, "b"))
        until(lambda: len(queue.sent("on")) == 2)
        queue.wait_keys("a", "cluster", "b")
        assert [row["key"] for row in query("list", queue.state, "--node", "off")] == ["b"]
        row = query("list", queue.state)[0]
        assert row == {
            "node": "on", "key": "a", "version": "1", "operation": "update", "resource": "default/configmap/a", "msg_id": "a",
            "size": len(ack("on", "a", 1, "a")) - 1}
        queue.feedback(answer("on", "a"), answer("on", "c"))
        queue.wait_keys("b")
        assert query("syncs", queue.state) == [
            {
                "apiVersion": "reliablesyncs.kubeedge.io/v1alpha1", "kind": "ObjectSync",
                "metadata": {"name": "on.a", "namespace": "default"},
                "spec": {"objectAPIVersion": "v1", "objectKind": "configmap", "objectName": "a"},
                "status": {"objectResourceVersion": "1"}},
            {
                "apiVersion": "reliablesyncs.kubeedge.io/v1alpha1", "kind": "ClusterObjectSync", "metadata": {"name": "on.cluster"},
                "spec": {"objectAPIVersion": "v1", "objectKind": "clusterrole", "objectName": "admin"},
                "status": {"objectResourceVersion": "7"}}]
        nodes = {row["node"]: row for row in query("nodes", queue.state)}
        assert nodes["on"]["session"] == 12 and nodes["on"]["online"] and nodes["on"]["acknowledged"] == 2
        assert not nodes["off"]["online"] and "session" not in nodes["off"] and nodes["off"]["pending"] == 1
        queue.kill()
        assert not any(row["online"] for row in query("nodes", queue.state))


# Flow control


def test_full_output_stops_the_cloud_but_never_the_feedback(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600", "--window", "100000", "--window-bytes", "1GiB") as queue:
        queue.connect("n")
        queue.settle()
        queue.reading.clear()
        time.sleep(0.1)
        writer = threading.Thread(target=lambda: queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}", size=1000) for i in range(3000))), daemon=True)
        writer.start()
        until(lambda: queue.counters()["pending_bytes"] > 100_000)
        time.sleep(0.5)
        taken = queue.counters()["accepted"]
        time.sleep(0.3)
        assert queue.counters()["accepted"] == taken < 3000 and writer.is_alive()
        before = queue.counters()["unknown_acks"]
        queue.feedback(*(answer("n", f"none{i}") for i in range(5000)))
        until(lambda: queue.counters()["unknown_acks"] == before + 5000)
        queue.reading.set()
        until(lambda: len(queue.sent()) == 3000)


def test_feedback_is_read_empty_before_the_input(tmp_path):
    with Queue(tmp_path, start=False) as queue:
        fcntl.fcntl(queue.feedback_end, 1031, 1 << 20)  # F_SETPIPE_SZ
        # Both are ready when it starts, and the connection stands at the very end of the feedback.
        queue.feedback(*(answer("n", f"none{i}") for i in range(3000)), event("connected", "n", 1))
        (tmp_path / "input").write_bytes(once("n", "first"))
        queue.options = [str(tmp_path / "input")]
        queue.start()
        until(lambda: queue.sent() == ["first"])


def test_silent_node_does_not_hold_up_the_others(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600") as queue:
        queue.connect("silent", "good")
        queue.cloud(*(ack("silent", f"k{i}", 1, f"s{i}", size=500) for i in range(5000)), ack("good", "a", 1, "good"))
        until(lambda: "good" in queue.sent())
        assert len(queue.sent("silent")) == 64


# Size


def test_memory_stays_flat_for_nodes_that_never_connect(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600") as queue:
        queue.cloud(*(ack(f"node-{n}", "k", 1, f"m{n}") for n in range(2000)))
        until(lambda: queue.counters()["accepted"] == 2000, 60)
        before = queue.resident()
        for i in range(10):
            queue.cloud(*(ack(f"node-{n}", f"k{i}", 1, f"m{n}-{i}", size=2000) for n in range(2000)))
        until(lambda: queue.counters()["accepted"] == 22000, 60)
        # 40 MB of messages; SQLite's page cache takes its 16 MiB.
        assert queue.resident() - before < 24_000_000
        queue.connect(*(f"node-{n}" for n in range(50)))
        until(lambda: len(queue.sent()) == 550, 30)


def test_backlog_of_one_node_is_sent_in_order(tmp_path):
    count = 20000
    state = tmp_path / "queue.db"
    assert fill(state, b"".join(ack("n", f"k{i}", 1, f"m{i}") for i in range(count))).returncode == 0
    with Queue(tmp_path, "--exit-when-drained", "--reconcile", "3600", "--ack-timeout", "60") as queue:
        queue.end_cloud()
        queue.connect("n")
        seen = 0
        until(lambda: queue.events("who"))
        while seen < count:
            until(lambda: len(queue.lines) > 1, 30)
            batch = queue.lines[1:]
            del queue.lines[1:1 + len(batch)]
            ids = [json.loads(line)["header"]["msg_id"] for _, line in batch]
            assert ids == [f"m{i}" for i in range(seen, seen + len(ids))]
            queue.feedback(*(answer("n", i) for i in ids))
            seen += len(ids)
        queue.wait_end(0)
        assert keys(state) == []


def test_many_reconnections_with_full_windows(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600", "--ack-timeout", "60") as queue:
        nodes = [f"n{i}" for i in range(50)]
        queue.connect(*nodes)
        queue.cloud(*(ack(node, f"k{i}", 1, f"{node}-{i}") for i in range(64) for node in nodes))
        until(lambda: len(queue.sent()) == 3200, 30)
        queue.feedback(event("reset"))
        queue.settle()
        # All of it goes to disk, and comes back.
        until(lambda: queue.counters()["memory_bytes"] < 1000, 30)
        queue.lines.clear()
        queue.connect(*nodes, session=2)
        until(lambda: len(queue.sent()) == 3200, 30)
        queue.feedback(*(answer(node, f"{node}-{i}", 2) for i in range(64) for node in nodes))
        until(lambda: not keys(queue.state), 30)


def test_idle_costs_nothing(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600") as queue:
        queue.connect(*(f"n{i}" for i in range(1000)))
        queue.settle()
        time.sleep(0.5)
        before = queue.cpu_seconds()
        time.sleep(2)
        assert queue.cpu_seconds() - before <= 0.02
