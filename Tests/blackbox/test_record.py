"""hub-record: whole lines in files that follow each other; what is recorded can be played."""

import json
import os
import signal
import threading
import time

import pytest
from conftest import Process, config_map, program, run

RECORD = program("hub-record")
REPLAY = program("hub-replay")


def lines(count, size=0):
    return b"".join(config_map("n", f"c{number}", number, data={"x": "y" * size}) for number in range(count))


def files(directory):
    return sorted(path for path in directory.iterdir())


def content(directory):
    return b"".join(path.read_bytes() for path in files(directory))


def test_what_is_recorded_comes_out_again(tmp_path):
    data = lines(100)
    done = run([RECORD, "--dir", tmp_path / "rec", "--name", "down"], data)
    assert (done.returncode, done.stdout) == (0, b"") and b"event=recorded" in done.stderr
    path, = files(tmp_path / "rec")
    assert path.name.startswith("down-") and path.name.endswith("-001.jsonl") and path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == data
    assert run([REPLAY, "--speed", "max", path]).stdout == data


def test_files_follow_each_other_at_a_size_and_hold_whole_lines(tmp_path):
    data = lines(300, size=1000)
    assert run([RECORD, "--dir", tmp_path / "rec", "--max-size", "100KiB"], data).returncode == 0
    found = files(tmp_path / "rec")
    assert len(found) >= 4
    for path in found:
        assert path.stat().st_size <= 100 << 10
        assert path.read_bytes().endswith(b"\n")
    assert content(tmp_path / "rec") == data
    assert run([REPLAY, "--speed", "max", *found]).stdout == data


def test_files_follow_each_other_at_an_age(tmp_path):
    process = Process([RECORD, "--dir", tmp_path / "rec", "--max-age", "0.2"])
    for number in range(3):
        process.write(config_map("n", f"c{number}", number))
        time.sleep(0.4)
    assert process.stop() == 0
    assert len(files(tmp_path / "rec")) == 3


def test_only_the_newest_stay(tmp_path):
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "other-1.jsonl").write_text("{}")
    for _ in range(2):
        assert run([RECORD, "--dir", tmp_path / "rec", "--max-size", "64KiB", "--keep", "2"], lines(300, size=1000)).returncode == 0
    names = [path.name for path in files(tmp_path / "rec")]
    assert len(names) == 3 and "other-1.jsonl" in names
    assert content(tmp_path / "rec").endswith(lines(300, size=1000)[-1000:])


def test_it_passes_what_it_has_recorded(tmp_path):
    data = lines(50)
    done = run([RECORD, "--dir", tmp_path / "rec", "--pass"], data)
    assert done.stdout == data and content(tmp_path / "rec") == data


def test_a_line_is_in_the_file_at_once(tmp_path):
    process = Process([RECORD, "--dir", tmp_path / "rec", "--pass"])
    process.write(config_map("n", "c", 1))
    process.wait_lines(lambda lines: len(lines) == 1)
    assert json.loads(content(tmp_path / "rec"))["header"]["msg_id"] == "n-c-1"
    process.process.send_signal(signal.SIGKILL)
    process.process.wait(10)
    assert content(tmp_path / "rec") == config_map("n", "c", 1) or content(tmp_path / "rec").count(b"\n") == 1
    process.stop()


def test_errors(tmp_path):
    (tmp_path / "file").write_text("")
    assert run([RECORD, "--dir", tmp_path / "file"], lines(1)).returncode == 73
    assert run([RECORD, "--dir", tmp_path / "a" / "b"], lines(1)).returncode == 73
    assert run([RECORD]).returncode == 64
    assert run([RECORD, "--dir", tmp_path, "--name", "a/b"]).returncode == 64
    done = run([RECORD, "--dir", tmp_path / "rec"], b"no json\n" + lines(1))
    assert done.returncode == 0 and b"event=reject" in done.stderr and content(tmp_path / "rec").count(b"\n") == 1


# Taps and mirrors of any stage


def fifo_reader(path):
    if not path.exists():
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def drain(end):
    data = b""
    while True:
        try:
            part = os.read(end, 1 << 16)
        except BlockingIOError:
            return data
        if not part:
            return data
        data += part


def wait_drain(end, wanted, timeout=10):
    data, deadline = b"", time.monotonic() + timeout
    while data.count(b"\n") < wanted and time.monotonic() < deadline:
        data += drain(end)
        time.sleep(0.01)
    return data


def test_a_tap_shows_what_leaves_and_is_not_waited_for(tmp_path):
    process = Process([program("hub-dispatch"), "down", "--tap", tmp_path / "tap"])
    process.write(config_map("n", "before", 1))
    process.wait_lines(lambda lines: len(lines) == 1)
    time.sleep(0.3)  # a line is offered to the tap after it has left
    reader = fifo_reader(tmp_path / "tap")
    time.sleep(0.15)
    process.write(config_map("n", "seen", 2))
    process.wait_lines(lambda lines: len(lines) == 2)
    assert wait_drain(reader, 1) == process.lines[1]
    # The reader stands still: everything goes on, and whole lines are dropped.
    count = 4000
    process.write(lines(count, size=1000))
    process.wait_lines(lambda lines: len(lines) == 2 + count)
    shown = drain(reader)
    assert 0 < shown.count(b"\n") < count
    os.close(reader)
    process.write(config_map("n", "after", 3))
    process.wait_lines(lambda lines: len(lines) == 3 + count)
    reader = fifo_reader(tmp_path / "tap")
    time.sleep(0.15)
    process.write(config_map("n", "again", 4))
    assert wait_drain(reader, 1) == process.wait_lines(lambda lines: len(lines) == 4 + count)[-1]
    os.close(reader)
    assert process.stop() == 0


def test_a_mirror_loses_nothing_and_is_waited_for(tmp_path):
    process = Process([program("hub-dispatch"), "down", "--mirror", tmp_path / "mirror"])
    process.write(config_map("n", "before", 1))
    process.wait_lines(lambda lines: len(lines) == 1)
    time.sleep(0.3)  # a line is offered to the tap after it has left
    reader = fifo_reader(tmp_path / "mirror")
    time.sleep(0.15)
    count = 6000
    writer = threading.Thread(target=process.write, args=(lines(count, size=1000),), daemon=True)
    writer.start()
    time.sleep(1)
    stood = len(process.lines)
    assert stood < count, "the output waits"
    data = wait_drain(reader, count, 20)
    process.wait_lines(lambda lines: len(lines) == 1 + count)
    writer.join(5)
    assert data == b"".join(process.lines[1:])
    os.close(reader)
    assert process.stop() == 0


def test_an_input_beside_the_others(tmp_path):
    fifo = tmp_path / "also"
    process = Process([program("hub-dispatch"), "down", "--also", fifo])
    for number in range(2):
        deadline = time.monotonic() + 10
        while not fifo.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with open(fifo, "wb", buffering=0) as writer:
            writer.write(config_map("n", f"x{number}", number))
        process.wait_lines(lambda lines: len(lines) == number + 1)
    process.close_input()
    assert process.process.wait(10) == 0, "it ends with its last real input"
    process.stop()


@pytest.mark.parametrize("option", ["--tap", "--mirror", "--also"])
def test_what_is_no_fifo_is_73(tmp_path, option):
    (tmp_path / "file").write_text("")
    assert run([program("hub-dispatch"), "down", option, tmp_path / "file"]).returncode == 73
