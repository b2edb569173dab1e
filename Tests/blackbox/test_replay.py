"""hub-replay: pace, changes, several inputs, the end."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import WIRE, Process, config_map, line, program, run

REPLAY = program("hub-replay")
RECORDED = WIRE / "downstream_stdin.jsonl"


def at(milliseconds, message_id="m", **route):
    header = {"msg_id": message_id} | ({"timestamp": milliseconds} if milliseconds is not None else {})
    return line(header, {"resource": "node/n/default/configmap/a", **route}, "c")


def messages(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


def test_a_recording_comes_out_as_it_is():
    done = run([REPLAY, "--speed", "max", RECORDED])
    assert done.stdout == RECORDED.read_bytes()
    assert b"event=replayed" in done.stderr and b"played=22" in done.stderr


@pytest.mark.parametrize("speed,seconds", [("1", 1.2), ("4", 0.3), ("max", 0)])
def test_lines_keep_their_distance(speed, seconds):
    data = at(1_000_000, "a") + at(1_000_400, "b") + at(None, "c") + at(1_000_100, "d") + at(1_001_200, "e")
    begun = time.monotonic()
    process = Process([REPLAY, "--speed", speed])
    process.write(data)
    process.close_input()
    process.wait_lines(lambda lines: len(lines) == 5)
    took = time.monotonic() - begun
    assert seconds <= took < seconds + 1, took
    assert [message["header"]["msg_id"] for message in process.messages()] == ["a", "b", "c", "d", "e"]
    assert process.process.wait(10) == 0
    process.stop()


def test_the_longest_gap_is_bounded():
    begun = time.monotonic()
    done = run([REPLAY, "--max-gap", "0.1"], at(1_000) + at(3_600_000) + at(7_200_000))
    assert len(messages(done)) == 3 and 0.2 <= time.monotonic() - begun < 3


def test_inputs_are_played_one_after_the_other(tmp_path):
    (tmp_path / "one").write_bytes(at(2_000, "1") + at(2_300, "2"))
    (tmp_path / "two").write_bytes(at(1_000, "3") + at(2_400, "4"))
    done = run([REPLAY, tmp_path / "one", "-", tmp_path / "two"], at(1, "in"))
    assert [message["header"]["msg_id"] for message in messages(done)] == ["1", "2", "in", "3", "4"]


def test_merged_inputs_do_not_wait_for_each_other(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    process = Process([REPLAY, "--speed", "max", "--merge", fifo, "-"])
    for number in range(3):
        process.write(at(1, f"in-{number}"))
        os.write(holder, at(1, f"fifo-{number}"))
        process.wait_lines(lambda lines: len(lines) == 2 * number + 2)
    os.close(holder)
    process.close_input()
    assert process.process.wait(10) == 0
    process.stop()


def test_one_node_plays_many():
    data = config_map("shop-1", "a", 5) + config_map("other", "b", 6)
    done = run([REPLAY, "--speed", "max", "--rename", "shop-1=load-{}", "--copies", "3", "--shift-versions", "100"], data)
    came = messages(done)
    assert [(m["route"]["resource"].split("/")[1], m["header"]["resourceversion"], m["header"]["msg_id"]) for m in came] == [
        ("load-0", "105", "shop-1-a-5-0"), ("load-1", "105", "shop-1-a-5-1"), ("load-2", "105", "shop-1-a-5-2"), ("other", "106", "other-b-6")]
    assert all(m["content"]["metadata"]["resourceVersion"] in "56" for m in came), "content stays as it is"


def test_only_one_node():
    done = run([REPLAY, "--speed", "max", "--node", "b"], config_map("a", "x", 1) + config_map("b", "y", 2))
    assert [m["route"]["resource"] for m in messages(done)] == ["node/b/default/configmap/y"]
    assert b"skipped=1" in done.stderr


def test_only_one_operation():
    done = run([REPLAY, "--speed", "max", "--operation", "delete"], config_map("a", "x", 1) + config_map("a", "y", 2, operation="delete"))
    assert [m["header"]["msg_id"] for m in messages(done)] == ["a-y-2"]


def test_retimed_lines_carry_the_time_of_leaving():
    before = int(time.time() * 1000)
    (message,) = messages(run([REPLAY, "--speed", "max", "--retime"], at(5)))
    assert before <= message["header"]["timestamp"] <= time.time() * 1000


def test_sigterm_leaves_out_what_is_not_due():
    process = Process([REPLAY])
    process.write(at(1_000_000, "a") + at(2_000_000, "b"))
    process.wait_lines(lambda lines: len(lines) == 1)
    assert process.stop() == 0
    assert len(process.lines) == 1


def test_as_a_filter_it_takes_what_is_there_before_it_ends():
    """A pipeline behind it can be ended without losing a line."""
    process = Process([REPLAY, "--speed", "max"])
    process.write(b"".join(config_map("n", f"c{i}", i) for i in range(500)))
    assert process.stop() == 0
    assert len(process.lines) == 500


@pytest.mark.parametrize("arguments", [
    ["--speed", "0"], ["--speed", "fast"], ["--rename", "a"], ["--rename", "a=B_C"], ["--copies", "2"], ["--copies", "2", "--rename", "a=b"],
    ["--id-suffix", 'a"b'], ["--copies", "0"], ["--shift-versions", "-1"],
])
def test_wrong_usage_is_64(arguments):
    done = run([REPLAY, *arguments])
    assert done.returncode == 64 and done.stderr


def test_bad_lines_are_refused_and_the_rest_played(tmp_path):
    done = run([REPLAY, "--speed", "max"], b"no json\n" + at(1, "a") + b'{"header":{}}\n')
    assert [m["header"]["msg_id"] for m in messages(done)] == ["a"]
    assert done.stderr.count(b"event=reject") == 2
    assert run([REPLAY, "--strict"], b"no json\n").returncode == 65
    assert run([REPLAY, tmp_path / "missing"]).returncode == 66


def test_memory_does_not_grow_with_what_waits(tmp_path):
    recording = tmp_path / "day.jsonl"
    with open(recording, "wb") as file:
        for number in range(30_000):
            file.write(at(1_000_000 + number * 1_000, f"m{number}", source="x" * 900))
    process = subprocess.Popen([REPLAY, recording], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout.readline()
        time.sleep(0.5)
        with open(f"/proc/{process.pid}/status") as status:
            resident = next(int(text.split()[1]) for text in status if text.startswith("VmRSS"))
        assert resident < 40_000, f"{resident} KiB"
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        process.wait(10)
