"""Each script of pipelines/ as it is: what it says it shows, and its status for wrong usage."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import BIN, ROOT, WIRE, Process, config_map, leftovers, run, wait_until

import edge

PIPELINES = ROOT / "pipelines"
RECORDED = WIRE / "downstream_stdin.jsonl"
ENVIRONMENT = {**os.environ, "HUB_BIN_DIR": str(BIN)}


def play(script, *arguments, data=b"", status=0, timeout=60):
    done = run([PIPELINES / script, *map(str, arguments)], data, timeout, env=ENVIRONMENT)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def messages(data):
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.parametrize("script", sorted(path.name for path in PIPELINES.glob("*.sh")))
def test_wrong_usage_is_64(script):
    arguments = [] if script in ("replay.sh", "up-in-jq.sh") else ["a", "b", "c", "d"]
    done = run([PIPELINES / script, *arguments], env=ENVIRONMENT)
    assert done.returncode == 64 and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", sorted(path.name for path in PIPELINES.glob("*.sh")))
def test_each_opens_with_what_it_shows(script):
    lines = (PIPELINES / script).read_text().splitlines()
    assert lines[0] == "#!/bin/sh" and lines[1].startswith("# ")
    assert any("Usage" in line for line in lines[:16]) and any("Status:" in line for line in lines[:20])


def test_loopback_delivers_without_a_network(tmp_path):
    shown = play("loopback.sh", data=RECORDED.read_bytes()).stdout.decode().splitlines()
    assert len(shown) >= 5 and all("\t" in line for line in shown)
    lines = b"".join(config_map(f"n{number % 7}", f"c{number}", number + 1) for number in range(500))
    play("loopback.sh", tmp_path / "q.db", data=lines)
    assert run([BIN / "hub-queue", "list", "--state", tmp_path / "q.db"]).stdout == b""
    assert len(run([BIN / "hub-queue", "syncs", "--state", tmp_path / "q.db"]).stdout.splitlines()) == 500


def test_what_record_keeps_replay_plays(tmp_path):
    data = b"".join(config_map("shop-1", f"c{number}", number + 1) for number in range(50))
    routed = play("record.sh", tmp_path / "rec", data=data).stdout
    plain, = (tmp_path / "rec").glob("plain-*.jsonl")
    inner, = (tmp_path / "rec").glob("routed-*.jsonl")
    assert plain.read_bytes() == data and inner.read_bytes() == routed and len(messages(routed)) == 50
    play("replay.sh", tmp_path / "q.db", "max", plain, "--rename", "shop-1=load-{}", "--copies", "4")
    rows = messages(run([BIN / "hub-queue", "nodes", "--state", tmp_path / "q.db"]).stdout)
    assert [(row["node"], row["pending"]) for row in rows] == [(f"load-{n}", 50) for n in range(4)]


def test_filter_leaves_out_and_adds(tmp_path):
    secret = config_map("n", "hidden", 2).replace(b"/default/", b"/kube-system/")
    came = messages(play("filter.sh", "kube-system", data=config_map("n", "shown", 1) + secret).stdout)
    assert [m["route"]["resource"] for m in came] == ["default/configmap/shown"]
    assert came[0]["hub"]["kind"] == "ack" and came[0]["content"]["metadata"]["labels"] == {"hub": "filtered"}


def test_up_in_jq_splits_recorded_lines(tmp_path):
    lines = []
    for operation, source, resource in (
            ("response", "edged", "default/configmap/a"), ("update", "edged", "default/podstatus/p"), ("updated", "twin", "device/d"),
            ("keepalive", "websocket", "node")):
        route = {"source": source, "group": "resource", "operation": operation, "resource": resource}
        lines.append({"hub": {"kind": "up", "node": "n", "session": 1}, "header": {"msg_id": operation}, "route": route, "content": "c"})
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    back = tmp_path / "back"
    done = run([PIPELINES / "up-in-jq.sh"], data, env={**ENVIRONMENT, "HUB_FEEDBACK": str(back)})
    assert done.returncode == 0, done.stderr
    came = messages(done.stdout)
    assert [(m["header"]["msg_id"], m["route"]["destination"], m["route"]["resource"]) for m in came] == [
        ("update", "edgecontroller", "node/n/default/podstatus/p"), ("updated", "devicecontroller", "node/n/device/d")]
    assert [m["header"]["msg_id"] for m in messages(back.read_bytes())] == ["response"]


def test_headless_certs_issues_certificates(tmp_path):
    process = Process([PIPELINES / "headless-certs.sh", tmp_path / "ca", "127.0.0.1:0"], env=ENVIRONMENT)
    port = tmp_path / "ca" / "https.port"
    wait_until(lambda: port.exists() and port.read_text(), what="the port")
    process.wait_errors(b"join token: ")
    token = next(line for line in process.errors if b"join token: " in line).split()[-1].decode()
    identity = edge.join("edge-0", int(port.read_text()), token, tmp_path / "edges")
    assert identity
    assert process.stop() == 0


@pytest.mark.whole_hub
def test_fanout_feeds_two_hubs(tmp_path):
    directory = tmp_path / "two-hubs"
    process = Process([PIPELINES / "fanout.sh", "^shop-", directory], env=ENVIRONMENT)
    try:
        ports = [wait_until(lambda path=directory / name / "run" / "wss.port": path.exists() and path.read_text(), 40, f"hub {name}")
                 for name in ("one", "two")]
        https = int((directory / "one" / "run" / "https.port").read_text())
        token = run([BIN / "hub-certs", "token", "--dir", directory / "one"]).stdout.decode().strip()
        assert not (directory / "two" / "rootCA.key").exists()
        process.write(config_map("shop-1", "a", 1) + config_map("ship-1", "b", 2))
        for node, port, expected in (("shop-1", ports[0], "shop-1-a-1"), ("ship-1", ports[1], "ship-1-b-2")):
            with edge.Edge(node, int(port), edge.join(node, https, token, tmp_path / "edges")) as connected:
                (message,) = connected.wait_count(1)
                assert message["header"]["msg_id"] == expected
                sent = connected.send_message("update", "default/podstatus/p", {"Name": node})
                up = process.wait_message(lambda message, sent=sent: message["header"]["msg_id"] == sent)
                assert up["route"]["resource"] == f"node/{node}/default/podstatus/p"
    finally:
        status = process.stop(60)
        process.kill()
    assert status == 0, process.errors
    assert leftovers(tmp_path) == []


def test_cloudhub_by_hand_is_a_hub(tmp_path):
    environment = {**ENVIRONMENT, "HUB_WSS": "127.0.0.1:0", "HUB_HTTPS": "127.0.0.1:0"}
    process = subprocess.Popen([PIPELINES / "cloudhub.sh", tmp_path / "hub"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=environment)
    try:
        wait_until((tmp_path / "hub" / "wss.port").exists, 30, "the port")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.stdin.close()
