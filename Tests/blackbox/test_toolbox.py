"""What can be done with a hub that runs: tap, record, replay, swap, restart, reload, stop."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BIN, ROOT, Hub, Process, config_map, program, run, wait_until

pytestmark = pytest.mark.whole_hub
HUB = str(ROOT / "bin" / "hub")
ENVIRONMENT = {**os.environ, "HUB_BIN_DIR": str(BIN)}


class Box:
    """Commands on one running hub."""

    def __init__(self, hub):
        self.hub = hub
        assert hub.wss and hub.https

    def command(self, name, *arguments):
        words = [str(argument) for argument in arguments]
        at = words.index("--") if "--" in words else len(words)
        return [HUB, name, *words[:at], "--run-dir", str(self.hub.run), *words[at:]]

    def do(self, name, *arguments, status=0, **options):
        done = run(self.command(name, *arguments), env=ENVIRONMENT, **options)
        assert done.returncode == status, (done.stdout, done.stderr)
        return done

    def start(self, name, *arguments):
        process = Process(self.command(name, *arguments), env=ENVIRONMENT, start_new_session=True)
        process.close_input()
        return process

    def end(self, process):
        """As Ctrl-C does: a signal to the whole group."""
        os.killpg(process.process.pid, signal.SIGINT)
        return process.wait(20)

    def write(self, *lines):
        self.hub.write(b"".join(lines))

    def pid(self, stage):
        return self.hub.pid(stage)


@pytest.fixture
def box(hub):
    return Box(hub)


def until_tapped(box, tap):
    """A tap is there once a line comes through: the writer looks for readers now and then."""
    number = 0
    while not tap.lines:
        number += 1
        assert number < 100
        box.write(config_map("probe", "p", number))
        time.sleep(0.05)


def without_probes(messages):
    return [message for message in messages if message["hub"]["node"] != "probe"]


def test_a_tap_comes_and_goes(box):
    tap = box.start("tap", "routed", "--node", "a", "--op", "update")
    time.sleep(0.3)
    for number in range(20):
        box.write(config_map("a", "x", number), config_map("b", "x", number), config_map("a", "y", number, operation="insert"))
        time.sleep(0.02)
    tap.wait_lines(lambda lines: len(lines) >= 10)
    assert {(m["hub"]["node"], m["route"]["operation"]) for m in tap.messages()} == {("a", "update")}
    # Only one at a time, and another one afterwards.
    assert b"already" in box.do("tap", "routed", status=75).stderr
    box.end(tap)
    again = box.start("tap", "routed", "--pretty")
    until_tapped(box, again)
    assert again.lines[0] == b"{\n"
    box.end(again)


def test_a_tap_survives_the_stage_that_it_looks_at(box):
    tap = box.start("tap", "routed")
    until_tapped(box, tap)
    os.kill(box.pid("down"), signal.SIGKILL)
    wait_until(lambda: box.hub.run.joinpath("down.pid").read_text().split()[1] == "1", what="the restart")
    before = len(tap.lines)
    for number in range(1000, 1040):
        box.write(config_map("a", "x", number))
        time.sleep(0.02)
    tap.wait_lines(lambda lines: len(lines) > before)
    box.end(tap)


def test_what_is_recorded_can_be_replayed(box, tmp_path):
    record = box.start("record", tmp_path / "rec", "--link", "routed", "--link", "out", "--max-size", "64KiB")
    time.sleep(0.5)
    data = [config_map("a", f"c{number}", number + 1, data={"x": "y" * 900}) for number in range(200)]
    for start in range(0, 200, 20):
        box.write(*data[start:start + 20])
        time.sleep(0.02)
    wait_until(lambda: len(box.hub.queue("list")) == 200, what="200 messages in the queue")
    assert b"already" in box.do("record", tmp_path / "rec", status=75).stderr
    assert box.end(record) == 0
    files = sorted((tmp_path / "rec").glob("routed-*.jsonl"))
    assert len(files) > 2
    recorded = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    # The link is looked at from its first line after the mirror was opened on.
    assert [m["header"]["msg_id"] for m in recorded] == [f"a-c{n}-{n + 1}" for n in range(200 - len(recorded), 200)]
    assert len(recorded) >= 180
    box.do("replay", *files, "--speed", "max", "--shift-versions", "1000", "--rename", "a=copy-{}", "--copies", "3", "--id-suffix", "-again")
    want = 200 + 3 * len(recorded)
    wait_until(lambda: len(box.hub.queue("list")) == want, what=f"{want} messages in the queue")
    rows = [row for row in box.hub.queue("list") if row["node"] == "copy-1"]
    assert rows[-1]["version"] == "1200" and rows[-1]["msg_id"] == "a-c199-200-again-1"


def test_lines_enter_at_every_link(box, tmp_path):
    inner = tmp_path / "inner.jsonl"
    inner.write_bytes(run([program("hub-dispatch"), "down"], config_map("edge-0", "c", 5)).stdout)
    box.do("replay", inner, "--link", "routed", "--speed", "max")
    wait_until(lambda: [row["node"] for row in box.hub.queue("list")] == ["edge-0"], what="the message")
    up = tmp_path / "up.jsonl"
    header, route = {"msg_id": "up-1"}, {"source": "edged", "group": "meta", "operation": "update", "resource": "default/podstatus/p"}
    up.write_text(json.dumps({"hub": {"kind": "up", "node": "edge-0", "session": 1}, "header": header, "route": route, "content": "c"}) + "\n")
    for link in ("wire", "live"):
        box.do("replay", up, "--link", link, "--speed", "max", "--id-suffix", f"-{link}")
        box.hub.wait_message(lambda message: message["header"]["msg_id"] == f"up-1-{link}")
    with box.hub.connect("edge-0") as node:
        (message,) = node.wait_count(1)
        assert message["header"]["msg_id"] == "edge-0-c-5"
        sent = tmp_path / "sent.jsonl"
        once = {"source": "edgecontroller", "group": "resource", "operation": "response", "resource": "kube-node-lease/lease/edge-0"}
        sent.write_text(json.dumps({"hub": {"kind": "once", "node": "edge-0"}, "header": {"msg_id": "o"}, "route": once, "content": "c"}) + "\n")
        box.do("replay", sent, "--link", "send", "--speed", "max")
        assert [m["header"]["msg_id"] for m in node.wait_count(2)] == ["edge-0-c-5", "o"]


UPPER = "sed -u s/default.configmap/other\\\\/configmap/ | exec %s down"


def test_a_stage_is_swapped_and_comes_back(box):
    count = 200
    with box.hub.connect("n") as node:
        box.write(*(config_map("n", f"c{number}", number + 1) for number in range(count)))
        old = box.pid("down")
        done = box.do("swap", "down", "--", "sh", "-c", UPPER % program("hub-dispatch"))
        assert b"down: process" in done.stdout and box.pid("down") != old
        box.write(*(config_map("n", f"d{number}", number + 1) for number in range(count)))
        assert b"swapped" in box.do("status").stdout
        box.do("swap", "down", "--back")
        assert b"swapped" not in box.do("status").stdout
        box.write(*(config_map("n", f"e{number}", number + 1) for number in range(count)))
        messages = node.wait_count(3 * count, 30)
    came = {message["route"]["resource"] for message in messages}
    assert came == {
        *(f"default/configmap/c{n}" for n in range(count)), *(f"other/configmap/d{n}" for n in range(count)),
        *(f"default/configmap/e{n}" for n in range(count))}


def test_a_command_that_ends_gives_its_place_back(box):
    box.do("swap", "down", "--", "false")
    box.hub.wait_errors(b"event=swapped_stage_ended stage=down status=1")
    wait_until(lambda: not (box.hub.run / "down.swap").exists(), what="the old stage")
    box.write(config_map("n", "c", 1))
    wait_until(lambda: len(box.hub.queue("list")) == 1, what="the message")
    assert b"no program" in box.do("swap", "down", "--", "no-such-program", status=69).stderr


def test_up_in_jq_answers_the_queue_and_the_controllers(box):
    with box.hub.connect("n") as node:
        box.do("swap", "up", "--", ROOT / "pipelines" / "up-in-jq.sh")
        box.write(*(config_map("n", f"c{number}", number + 1) for number in range(50)))
        wait_until(lambda: len(box.hub.queue("syncs")) == 50, 30, what="the acknowledgements")
        sent = node.send_message("update", "default/podstatus/p", {"Name": "p"})
        up = box.hub.wait_message(lambda message: message["header"]["msg_id"] == sent)
        assert up["route"]["resource"] == "node/n/default/podstatus/p" and up["route"]["destination"] == "edgecontroller"
        box.do("swap", "up", "--back")
        again = node.send_message("update", "default/podstatus/p", {"Name": "p"})
        box.hub.wait_message(lambda message: message["header"]["msg_id"] == again)
    box.hub.wait_message(lambda message: message["route"]["operation"] == "disconnected")


def test_restart_keeps_connections_and_lines(box):
    with box.hub.connect("n") as node:
        for turn in range(3):
            box.write(*(config_map("n", f"t{turn}-{number}", number + 1) for number in range(100)))
            box.do("restart", "all")
        box.do("restart", "queue", "--bin", BIN)
        messages = node.wait_count(300, 30)
        assert len({message["route"]["resource"] for message in messages}) == 300
        wait_until(lambda: len(box.hub.queue("syncs")) == 300, what="all acknowledgements")
    assert not any(b"event=stage_died" in line for line in box.hub.errors)
    assert box.do("restart", "queue", "--bin", "/nonexistent", status=69)


def test_nodes_tell_what_waits_and_why(box):
    with box.hub.connect("edge-1"):
        box.write(config_map("edge-0", "a", 1), config_map("edge-0", "b", 2), config_map("edge-1", "c", 3))
        wait_until(lambda: len(box.hub.queue("syncs")) == 1, what="the acknowledgement")

        def rows():
            found = [json.loads(line) for line in box.do("nodes", "--json").stdout.splitlines()]
            return found if len(found) == 2 and "remote" in found[1] and "in_flight" in found[1] else None

        first, second = wait_until(rows, 20, "what hub-keepalive has seen")
        assert (first["node"], first["online"], first["pending"], first["acknowledged"]) == ("edge-0", False, 2, 0)
        assert abs(first["oldest"] - time.time() * 1000) < 60_000 and "remote" not in first
        assert (second["node"], second["online"], second["pending"], second["acknowledged"]) == ("edge-1", True, 0, 1)
        assert second["remote"].startswith("127.0.0.1:") and abs(second["last_seen"] - time.time() * 1000) < 60_000
        assert first["in_flight"] == second["in_flight"] == 0
        table = box.do("nodes", "--sort", "pending").stdout.decode().splitlines()
        assert table[0].split()[:3] == ["node", "state", "for"]
        assert [line.split()[0] for line in table[1:]] == ["edge-0", "edge-1"]
        box.write(b"no json\n")
        wait_until(lambda: b"refused" in box.do("status").stdout, 20, "the refusal")
        page = box.hub.directory / "status.html"
        box.do("status", "--html", page, "--interval", "1")
        text = page.read_text()
        assert text.startswith("<!DOCTYPE html>") and "edge-0" in text and "<svg" in text and "not JSON" in text and "http" not in text.replace("http-equiv", "")
        box.do("status", "--html", "/nonexistent/x", "--interval", "1", status=73)
        top = box.start("top", "--interval", "0.2")
        top.wait_lines(lambda lines: sum(b"edge-1" in line for line in lines) >= 2)
        box.end(top)


def test_reload_and_stop(tmp_path):
    hub = Hub(tmp_path / "hub")
    try:
        box = Box(hub)
        box.do("reload")
        wait_until(lambda: sum(b"event=reloaded" in line for line in hub.errors) == 2, what="two reloads")
        box.do("stop")
        assert hub.wait() == 0
        box.do("stop", status=69)
    finally:
        hub.kill()


def test_a_hub_is_found_without_being_named(tmp_path):
    place = tmp_path / "place"
    environment = {**ENVIRONMENT, "HUB_RUN_DIR": str(place)}

    def start(name):
        return Process(
            [HUB, "run", "--dir", tmp_path / name, "--listen", "127.0.0.1:0", "--certs-listen", "none"], env=environment, stdin=subprocess.DEVNULL)

    first = start("one")
    wait_until((place / "wss.port").exists, what="the first hub")
    second = start("two")
    try:
        second.wait_errors(b"event=listening")
        other = next(text.split(b"run_dir=")[1].split()[0] for text in second.errors if b"run_dir=" in text).decode()
        assert Path(other).parent == tmp_path and other != str(place)
        shown = run([HUB, "status"], env=environment)
        assert shown.returncode == 0 and str(first.process.pid).encode() in shown.stdout
    finally:
        for hub in (first, second):
            assert hub.stop() == 0
    assert not place.exists() and not Path(other).exists()
