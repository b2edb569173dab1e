"""The state file over the years: older layouts are upgraded, newer ones refused, damaged ones named and set aside only on demand."""

import json
import os
import re
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from test_queue_kit import QUEUE, Queue, ack, answer, delete, keys, query, until

STATE = Path(__file__).parent / "state"
NEWEST = 2


def make(state, version):
    """A file as the hub-queue that knew this version left it when it was killed."""
    database = sqlite3.connect(state)
    database.executescript((STATE / f"schema-{version}.sql").read_text())
    database.close()
    state.chmod(0o600)


def schema(state):
    database = sqlite3.connect(state)
    try:
        return database.execute("PRAGMA user_version").fetchone()[0]
    finally:
        database.close()


def fill(state, data=b"", *options):
    return subprocess.run([QUEUE, "--state", str(state), *options], input=data, capture_output=True, timeout=60)


def damage(state):
    """Overwrites the pages behind the first ones."""
    data = bytearray(state.read_bytes())
    assert len(data) > 4096 * 9
    data[4096 * 3:4096 * 9] = os.urandom(4096 * 6)
    state.write_bytes(data)
    return bytes(data)


def aside(state):
    """Names of databases that were set aside; their logs are not counted."""
    return sorted(path.name for path in state.parent.iterdir() if re.fullmatch(rf"{state.name}\.damaged-\d+(-\d+)?", path.name))


# Older and newer layouts


def test_a_file_of_schema_1_is_upgraded_with_all_that_it_holds(tmp_path):
    state = tmp_path / "queue.db"
    make(state, 1)
    assert [row["key"] for row in query("list", state)] == ["uid-3", "uid-4", "default/configmap/gone", "uid-5", "uid-6", "uid-7"]
    assert schema(state) == 1, "a look at the file does not change it"
    with Queue(tmp_path, "--attempts", "3") as queue:
        assert any("event=state_upgraded" in line and "from=1" in line and f"to={NEWEST}" in line for line in queue.errors)
        assert schema(state) == NEWEST
        rows = query("list", state)
        assert [row["msg_id"] for row in rows] == ["m-3", "m-4", "m-5", "m-6", "m-7", "m-8"]
        assert rows[0]["last_error"] == "no room"
        assert {(row["metadata"]["name"], row["status"]["objectResourceVersion"]) for row in query("syncs", state)} == {
            ("edge-a.uid-1", "7"), ("edge-a.uid-2", "8")}
        # What was acknowledged does not come again, and what was sent before the kill can be acknowledged now.
        queue.cloud(ack("edge-a", "uid-1", 7, "again"))
        queue.connect("edge-a", session=2)
        queue.feedback(answer("edge-a", "m-8", session=2))
        until(lambda: "m-3" in queue.sent())
        queue.feedback(answer("edge-a", "m-3", session=2))
        queue.settle()
        assert "again" not in queue.sent()
        # The old and the new object of one path keep their order.
        queue.connect("edge-b", session=3)
        for expected in (["m-4", "m-5", "m-7"], ["m-4", "m-5", "m-7", "m-6"]):
            until(lambda: len(queue.sent("edge-b")) >= len(expected))
            assert queue.sent("edge-b") == expected
            queue.feedback(*(answer("edge-b", message, session=3) for message in expected if message != "m-6"))
        queue.feedback(answer("edge-b", "m-6", session=3))
        queue.wait_keys()


def test_an_upgraded_file_tells_two_deletions_of_one_path_apart(tmp_path):
    """Schema 1 had the path alone as the key of a deletion without uid: a second one was swallowed by the first."""
    state = tmp_path / "queue.db"
    make(state, 1)
    again = delete("edge-b", "default/configmap/gone", "m-9", resource="default/configmap/gone")
    assert fill(state, again).returncode == 0
    assert [row["msg_id"] for row in query("list", state)] == ["m-3", "m-4", "m-5", "m-6", "m-7", "m-8", "m-9"]


def test_an_upgrade_is_done_once(tmp_path):
    state = tmp_path / "queue.db"
    make(state, 1)
    assert b"state_upgraded" in fill(state).stderr
    before = query("list", state)
    assert b"state_upgraded" not in fill(state).stderr
    assert query("list", state) == before


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path):
    state = tmp_path / "queue.db"
    make(state, 1)
    # A row that the upgrade wants to write is there already.
    database = sqlite3.connect(state)
    database.execute("INSERT INTO recent VALUES(5, x'00')")
    database.commit()
    database.close()
    before = query("nodes", state)
    done = fill(state)
    assert done.returncode != 0 and str(state).encode() in done.stderr
    assert schema(state) == 1 and query("nodes", state) == before


def test_a_file_of_a_newer_program_is_refused_and_left_alone(tmp_path):
    state = tmp_path / "queue.db"
    assert fill(state, ack("n", "a", 1, "a")).returncode == 0
    assert schema(state) == NEWEST
    database = sqlite3.connect(state)
    database.execute(f"PRAGMA user_version = {NEWEST + 1}")
    database.commit()
    database.close()
    before = state.read_bytes()
    for options in ((), ("--set-aside-damaged",)):
        done = fill(state, ack("n", "b", 1, "b"), *options)
        assert done.returncode == 78
        assert done.stderr.decode().splitlines() == [
            f"hub-queue: {state} was written by a newer hub-queue (schema {NEWEST + 1}, this program knows {NEWEST})"]
    assert state.read_bytes() == before and not aside(state)
    for command in ("list", "nodes", "syncs", "check"):
        assert subprocess.run([QUEUE, command, "--state", state], capture_output=True).returncode == 78


def test_another_programs_database_is_never_set_aside(tmp_path):
    state = tmp_path / "other.db"
    database = sqlite3.connect(state)
    database.execute("CREATE TABLE t(x)")
    database.commit()
    database.close()
    before = state.read_bytes()
    done = fill(state, ack("n", "a", 1, "a"), "--set-aside-damaged")
    assert done.returncode == 78 and b"is not a state file of hub-queue" in done.stderr
    assert state.read_bytes() == before and not aside(state)


# Damage


@pytest.fixture
def damaged(tmp_path):
    """A state file with damaged pages, and its content."""
    state = tmp_path / "queue.db"
    assert fill(state, b"".join(ack("n", f"k{i}", 1, f"m{i}", size=500) for i in range(200))).returncode == 0
    return state, damage(state)


def test_a_damaged_file_is_named_and_stays(damaged):
    state, content = damaged
    done = fill(state, ack("n", "new", 1, "new"))
    assert done.returncode == 78 and str(state).encode() in done.stderr and done.stderr.count(b"\n") == 1
    assert state.read_bytes() == content and not aside(state)


def test_a_damaged_file_is_set_aside_on_demand(damaged):
    state, content = damaged
    done = fill(state, ack("n", "new", 1, "new"), "--set-aside-damaged")
    assert done.returncode == 0
    name, = aside(state)
    assert (state.parent / name).read_bytes() == content
    log = [line for line in done.stderr.decode().splitlines() if "event=state_set_aside" in line]
    assert len(log) == 1 and "level=error" in log[0] and name in log[0]
    assert keys(state) == ["new"]
    assert state.stat().st_mode & 0o777 == 0o600
    # The option does nothing to a sound file, and a second damaged one does not take the first one's place.
    assert fill(state, b"", "--set-aside-damaged").returncode == 0
    assert keys(state) == ["new"] and aside(state) == [name]
    state.write_bytes(b"no database at all " * 300)
    assert fill(state, b"", "--set-aside-damaged").returncode == 0
    assert len(aside(state)) == 2 and keys(state) == []


def test_the_log_of_a_damaged_file_goes_with_it(tmp_path):
    """Left behind, SQLite would take it for the log of the new file."""
    state = tmp_path / "queue.db"
    assert fill(state, b"".join(ack("n", f"k{i}", 1, f"m{i}", size=500) for i in range(500))).returncode == 0
    with Queue(tmp_path, feedback=False) as queue:
        queue.cloud(ack("n", "in-the-log", 1, "m"))
        until(lambda: "in-the-log" in keys(state))
        queue.kill()
    assert Path(f"{state}-wal").stat().st_size > 0
    damage(state)
    done = fill(state, ack("n", "new", 1, "new"), "--set-aside-damaged")
    assert done.returncode == 0, done.stderr
    assert keys(state) == ["new"]
    assert len(aside(state)) == 1


def test_a_file_that_cannot_be_moved_is_77_or_73(damaged):
    state, content = damaged
    if os.geteuid() == 0:
        pytest.skip("root may rename everything")
    state.parent.chmod(0o500)
    try:
        assert fill(state, b"", "--set-aside-damaged").returncode in (73, 77)
    finally:
        state.parent.chmod(0o700)
    assert state.read_bytes() == content


def test_check_tells_sound_from_damaged(damaged, tmp_path):
    state, content = damaged
    done = subprocess.run([QUEUE, "check", "--state", state], capture_output=True)
    assert done.returncode == 78 and str(state).encode() in done.stderr
    assert state.read_bytes() == content
    sound = tmp_path / "sound.db"
    assert fill(sound, ack("n", "a", 1, "a")).returncode == 0
    done = subprocess.run([QUEUE, "check", "--state", sound], capture_output=True)
    assert done.returncode == 0 and done.stderr == b""
    told = json.loads(done.stdout)
    assert told == {"state": str(sound), "schema": NEWEST, "bytes": sound.stat().st_size, "problems": []}
    served = tmp_path / "served"
    served.mkdir()
    with Queue(served, feedback=False) as queue:
        assert subprocess.run([QUEUE, "check", "--state", queue.state], capture_output=True).returncode == 0


def test_damage_found_while_serving_ends_the_program_and_is_set_aside_at_the_next_start(tmp_path):
    """A large file is believed at the start, unless the option asks for a look at all of it."""
    state = tmp_path / "queue.db"
    count = 1500
    assert fill(state, b"".join(ack("n", f"k{i}", 1, f"m{i}", size=50_000) for i in range(count))).returncode == 0
    size = state.stat().st_size
    assert size > 64 << 20
    with open(state, "r+b") as file:
        # The roots of the tables lie in the first pages; all others are damaged.
        for start in range(4096 * 12, size, 4096 * 16):
            file.seek(start)
            file.write(b"\xff" * 4096)
    with Queue(tmp_path) as queue:
        queue.connect("n")
        queue.wait_end(78)
        assert any(str(state) in line and line.startswith("hub-queue: ") for line in queue.errors)
    with Queue(tmp_path, "--set-aside-damaged") as queue:
        assert len(aside(state)) == 1
        queue.cloud(ack("n", "new", 1, "new"))
        queue.connect("n")
        queue.wait_sent("new")
        queue.process.send_signal(signal.SIGTERM)
        queue.wait_end(0)
