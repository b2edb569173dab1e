"""hub-dispatch and hub-keepalive as black boxes at a shell prompt."""

import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

BIN = Path(os.environ.get("HUB_BIN_DIR", Path(__file__).parents[2] / ".build" / "debug"))
DISPATCH = str(BIN / "hub-dispatch")
KEEPALIVE = str(BIN / "hub-keepalive")
CORPUS = Path(__file__).parents[3] / "shared" / "json-corpus"

GOOD = b'{"header":{"msg_id":"%d"},"route":{"group":"user","resource":"node/n/a/b"},"content": [ 1.50 , "\\u00e9" ] }'
UP = b'{"hub":{"kind":"up","node":"n","session":1},"header":{"msg_id":"%d"},"route":{"source":"edged","operation":"update","resource":"a/b"},"content":1}'
STAGES = {
    "down": ([DISPATCH, "down"], GOOD),
    "up": ([DISPATCH, "up", "--feedback", "/dev/null"], UP),
    "keepalive": ([KEEPALIVE, "--control", "/dev/null"], UP),
}


def run(arguments, data, **options):
    return subprocess.run(arguments, input=data, capture_output=True, timeout=60, **options)


@pytest.fixture(params=STAGES)
def stage(request):
    return STAGES[request.param]


def rejected_lines(stderr):
    return [int(word[5:]) for line in stderr.split(b"\n") if b"event=reject" in line for word in line.split() if word[:5] == b"line="]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of parsing cases is not there")
def test_corpus_between_good_lines(stage):
    arguments, good = stage
    files = sorted(path for path in CORPUS.iterdir() if path.suffix == ".json")
    assert len(files) > 300
    lines, bad = [], []
    for number, path in enumerate(files):
        lines.append(good % number)
        for part in path.read_bytes().split(b"\n"):
            lines.append(part)
            if part:
                bad.append(len(lines))
    lines.append(good % len(files))
    done = run(arguments, b"\n".join(lines) + b"\n")
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == len(files) + 1
    assert rejected_lines(done.stderr) == bad


def test_corpus_as_content():
    if not CORPUS.is_dir():
        pytest.skip("the corpus of parsing cases is not there")
    for path in sorted(CORPUS.glob("[ny]_*.json")):
        body = path.read_bytes().strip(b"\n")
        if b"\n" in body:
            continue  # a line holds no newline
        line = b'{"header":{"msg_id":"1"},"route":{"group":"user","resource":"node/n/a"},"content":' + body + b"}"
        done = run([DISPATCH, "down"], line + b"\n")
        assert done.returncode == 0, path.name
        assert bool(done.stdout) == path.name.startswith("y_"), path.name
        if done.stdout:
            assert done.stdout.endswith(b'"content":' + body + b"}\n"), path.name


def test_overlong_line_is_skipped_in_little_memory(stage):
    arguments, good = stage
    read, write = os.pipe()
    process = subprocess.Popen(arguments, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        pipe.write(good % 1 + b"\n")
        for _ in range(64):
            pipe.write(b"x" * (1 << 20))
        pipe.write(b"\n" + good % 2 + b"\n")
        pipe.flush()
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.count(b"\n") == 2
    assert rejected_lines(err) == [2]
    assert peak < 150_000, f"{peak} kB for a line of 64 MB with --max-line 32 MiB"


def test_binary_input_and_cut_last_line(stage):
    arguments, good = stage
    noise = os.urandom(1 << 20).replace(b"\n", b"\0")
    whole, cut = good % 1, (good % 2)[:-5]
    done = run(arguments, noise + b"\n" + whole + b"\n" + cut)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert rejected_lines(done.stderr) == [1, 3]


def test_last_line_without_newline_counts(stage):
    arguments, good = stage
    assert run(arguments, good % 1).stdout.count(b"\n") == 1


def test_rejects_are_kept_verbatim(stage, tmp_path):
    arguments, good = stage
    bad = [b"\xff\xfe", b"x" * 300, b"{}", b'{"header":{},"header":{},"route":{}}']
    kept = tmp_path / "rejects"
    done = run(arguments + ["--rejects", str(kept), "--max-line", "256"], b"\n".join(bad) + b"\n" + good % 1 + b"\n")
    assert done.returncode == 0
    assert kept.read_bytes() == b"\n".join(bad) + b"\n"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_strict_ends_with_65(stage):
    arguments, good = stage
    done = run(arguments + ["--strict"], good % 1 + b"\nbad\n")
    assert done.returncode == 65
    assert done.stdout.count(b"\n") <= 1
    assert b"line 2: not JSON at byte 0" in done.stderr.splitlines()[-1]


def test_missing_input_and_wrong_usage(stage):
    arguments, _ = stage
    done = run(arguments + ["/nonexistent"], b"")
    assert done.returncode == 66
    assert done.stderr.splitlines()[-1].endswith(b": cannot open /nonexistent: No such file or directory")
    assert run(arguments + ["--no-such-option"], b"").returncode == 64


def test_directory_is_no_input(stage, tmp_path):
    done = run(stage[0] + [str(tmp_path)], b"")
    assert done.returncode == 66 and b"Is a directory" in done.stderr


def test_full_device_is_74(stage):
    arguments, good = stage
    with open("/dev/full", "wb") as full:
        done = subprocess.run(arguments, input=good % 1 + b"\n", stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 74
    assert b"cannot write standard output: No space left on device" in done.stderr


def test_gone_reader_is_74(stage):
    arguments, good = stage
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    _, err = process.communicate(good % 1 + b"\n", timeout=60)
    assert process.returncode == 74
    assert b"the reader of standard output has gone" in err


def test_sigterm_ends_at_a_line_boundary_with_0(stage):
    arguments, good = stage
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(good % 1 + b"\n" + b"half a li")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line.endswith(b"}\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert process.stdout.read() == b""


def test_sigusr1_logs_counters(stage):
    arguments, good = stage
    process = subprocess.Popen(arguments + ["--log-format", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(good % 1 + b"\nbad\n")
    process.stdin.flush()
    process.stdout.readline()
    assert json.loads(process.stderr.readline())["event"] == "reject"
    process.send_signal(signal.SIGUSR1)
    counters = json.loads(process.stderr.readline())
    assert counters["event"] == "counters" and counters["rejected"] == "1"
    process.stdin.close()
    assert process.wait(timeout=10) == 0


def test_several_inputs_end_with_the_last(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(GOOD % 1 + b"\n")
    os.mkfifo(second)
    process = subprocess.Popen([DISPATCH, "down", str(first), str(second), "-"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert b'"msg_id":"1"' in process.stdout.readline()
    time.sleep(0.3)
    assert process.poll() is None, "a FIFO without a writer has not ended"
    with open(second, "wb") as fifo:
        fifo.write(GOOD % 2 + b"\n")
        fifo.flush()
        assert b'"msg_id":"2"' in process.stdout.readline()
    assert process.wait(timeout=10) == 0


def test_odd_content_keeps_its_bytes():
    content = (
        b'{ "big" : 123456789012345678901234567890.10e+0400 ,\t"neg":-0.0, "esc":"\\u0000\\/\\uD83D\\ude00", "metadata" : { "uid":"u" } , "pad":"'
        + b"y" * (5 << 20)
        + b'"}'
    )
    line = b'{"header":{"msg_id":"1","resourceversion":"2","x":{"y":[ ]}}, "route":{"group":"resource","operation":"update","resource":"node/n/d/configmap/c"},"content":' + content + b' , "more" : null }'
    done = run([DISPATCH, "down"], line + b"\n")
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.endswith(b'"content":' + content + b' , "more" : null }\n')
    assert b',"header":{"msg_id":"1","resourceversion":"2","x":{"y":[ ]}}, "route":{' in done.stdout


def test_up_splits_by_destination(tmp_path):
    def line(source, operation, resource):
        return b'{"hub":{"kind":"up","node":"n","session":1},"header":{"msg_id":"1","parent_msg_id":"p"},"route":{"source":"%s","operation":"%s","resource":"%s"}}\n' % (source, operation, resource)

    acknowledgement = line(b"edgecontroller", b"response", b"a")
    feedback, devices = tmp_path / "feedback", tmp_path / "devices"
    done = run(
        [DISPATCH, "up", "--feedback", str(feedback), "--to", f"devicecontroller={devices}"],
        acknowledgement + line(b"twin", b"updated", b"t") + line(b"edged", b"update", b"e") + line(b"cloudhub", b"update", b"e") + line(b"x", b"error", b"e"),
    )
    assert done.returncode == 0
    assert feedback.read_bytes() == acknowledgement + line(b"x", b"error", b"e")
    assert [json.loads(text)["route"]["destination"] for text in devices.read_bytes().splitlines()] == ["devicecontroller"]
    assert [json.loads(text)["route"]["resource"] for text in done.stdout.splitlines()] == ["node/n/e"]
    assert rejected_lines(done.stderr) == [4]
    assert b"event=node_error" in done.stderr


def test_up_keeps_acknowledgements_flowing_while_its_output_stands(tmp_path):
    feedback = tmp_path / "feedback"
    os.mkfifo(feedback)
    got = []
    reader = threading.Thread(target=lambda: got.extend(open(feedback, "rb")))
    reader.start()
    process = subprocess.Popen(
        [DISPATCH, "up", "--feedback", str(feedback), "--hold", "1MiB", "--spill", "64MiB", "--spill-dir", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    fcntl.fcntl(process.stdout, 1031, 4096)  # F_SETPIPE_SZ
    count = 20_000
    padding = b"z" * 900
    for number in range(count):
        process.stdin.write((UP % number)[:-2] + b'"%s"}\n' % padding)
        process.stdin.write(b'{"hub":{"kind":"up","node":"n","session":1},"header":{"parent_msg_id":"%d"},"route":{"operation":"response"}}\n' % number)
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while len(got) < count - 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(got) >= count - 200, "acknowledgements wait behind data"
    process.stdin.close()
    numbers = [json.loads(line)["header"]["msg_id"] for line in process.stdout]
    assert numbers == [str(number) for number in range(count)]
    assert process.wait(timeout=10) == 0
    reader.join(timeout=10)
    assert len(got) == count


def test_fifo_that_nobody_reads_is_73(tmp_path):
    fifo = tmp_path / "feedback"
    os.mkfifo(fifo)
    started = time.monotonic()
    done = run([DISPATCH, "up", "--feedback", str(fifo)], b"")
    assert done.returncode == 73
    assert 8 < time.monotonic() - started < 20
    assert b"event=waiting_for_reader" in done.stderr
    assert done.stderr.splitlines()[-1] == b"hub-dispatch: nobody reads the FIFO " + os.fsencode(str(fifo))


def test_keepalive_closes_silent_nodes_and_lists_the_others(tmp_path):
    control, status = tmp_path / "control", tmp_path / "status"
    process = subprocess.Popen(
        [KEEPALIVE, "--control", str(control), "--timeout", "1", "--status", str(status)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    connected = b'{"hub":{"kind":"event","node":"%s","session":%d,"event":"connected"},"header":{"msg_id":"c"},"route":{},"content":{"remote":"192.0.2.1:5"}}\n'
    process.stdin.write(connected % (b"silent", 7) + connected % (b"lively", 8))
    process.stdin.flush()
    for _ in range(12):
        time.sleep(0.2)
        process.stdin.write(b'{"hub":{"kind":"up","node":"lively","session":8},"header":{},"route":{"operation":"keepalive"}}\n')
        process.stdin.flush()
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.3)
    events = [json.loads(line)["hub"] for line in control.read_bytes().splitlines()]
    assert events[0] == {"kind": "event", "event": "who"}
    assert {event.get("node") for event in events[1:]} == {"silent"}
    assert events[1] == {"kind": "event", "node": "silent", "session": 7, "event": "close", "reason": "keepalive timeout"}
    listed = [json.loads(line) for line in status.read_text().splitlines()]
    assert {entry["node"]: entry["remote"] for entry in listed} == {"silent": "192.0.2.1:5", "lively": "192.0.2.1:5"}
    process.stdin.close()
    assert process.stdout.read().count(b"\n") == 2, "keepalives end here"
    assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("arguments", [[DISPATCH], [DISPATCH, "down"], [DISPATCH, "up"], [KEEPALIVE]])
def test_help_and_version(arguments):
    shown = run(arguments + ["--help"], b"")
    assert shown.returncode == 0 and b"USAGE" in shown.stdout
    assert max(len(line) for line in shown.stdout.decode().splitlines()) <= 80
    version = run(arguments + ["--version"], b"")
    assert version.returncode == 0 and version.stdout.strip().count(b".") == 2


def test_environment_gives_defaults():
    assert b"line=1" in run([DISPATCH, "down"], b"x" * 200 + b"\n", env={"HUB_MAX_LINE": "100"}).stderr
    done = run([DISPATCH, "down"], b"", env={"HUB_MAX_LINE": "lots"})
    assert done.returncode == 64 and b"HUB_MAX_LINE has a wrong value: 'lots'" in done.stderr


FOREIGN = b'{"hub":{"kind":"up","node":"edge-0","session":7},"header":{"msg_id":"m"},"route":{"source":"edged","operation":"update","resource":"default/nodestatus/edge-1"}}\n'


def policy_counters(*options):
    """What is logged for 50 breaches, and the counters after them."""
    arguments = [DISPATCH, "up", "--feedback", "/dev/null", "--policy", "node", "--log-format", "json", *options]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(FOREIGN * 50 + FOREIGN.replace(b"edge-1", b"edge-0"))
    process.stdin.flush()
    passed = [process.stdout.readline() for _ in range(51 if options else 1)]
    process.send_signal(signal.SIGUSR1)
    logged = []
    while not logged or logged[-1]["event"] != "counters":
        logged.append(json.loads(process.stderr.readline()))
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    return passed, logged[:-1], logged[-1]


def test_policy_refuses_and_counts_by_reason():
    passed, logged, counters = policy_counters()
    assert b"nodestatus/edge-0" in passed[0]
    assert [line["event"] for line in logged] == ["reject"] * 50
    assert (counters["policy_other_node"], counters["policy_type"], counters["refused"]) == ("50", "0", "50")


def test_policy_dry_run_lets_pass_and_bounds_its_log():
    passed, logged, counters = policy_counters("--policy-dry-run", "--policy-log", "3")
    assert sum(b"nodestatus/edge-1" in line for line in passed) == 50
    assert {line["event"] for line in logged} == {"policy"} and logged[0]["node"] == "edge-0"
    # The 50 lines may fall into two seconds.
    assert 3 <= len(logged) <= 6 and int(counters["policy_unlogged"]) == 50 - len(logged)
    assert (counters["policy_other_node"], counters["refused"]) == ("50", "0")


@pytest.mark.parametrize("options", [["--policy", "strict"], ["--policy-dry-run"], ["--policy", "node", "--policy-log", "-1"]])
def test_wrong_policies_are_wrong_usage(options):
    assert run([DISPATCH, "up", "--feedback", "/dev/null", *options], b"").returncode == 64
