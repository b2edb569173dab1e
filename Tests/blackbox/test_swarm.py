"""hub-swarm as a black box, against a small hub of its own: stdlib only, one asyncio loop in a thread."""

import asyncio
import base64
import hashlib
import json
import os
import signal
import ssl
import struct
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BIN = Path(os.environ.get("HUB_BIN_DIR", Path(__file__).parents[2] / ".build" / "debug"))
SWARM = str(BIN / "hub-swarm")
PROJECT = "e632aba927ea4ac2b575ec1603d56f10"


class Edge:
    """One connection at the hub's side."""

    def __init__(self, hub, reader, writer, request, node):
        self.hub, self.reader, self.writer, self.request, self.node = hub, reader, writer, request, node
        self.messages, self.pongs, self.closed_with, self.masks = [], [], None, set()
        tls = writer.get_extra_info("ssl_object")
        self.resumed = bool(tls and tls.session_reused)
        self.peer = writer.get_extra_info("peercert")

    def frame(self, payload, opcode=1, fin=True):
        length = len(payload)
        head = bytes([(0x80 if fin else 0) | opcode])
        if length < 126:
            head += bytes([length])
        elif length < 65536:
            head += b"\x7e" + struct.pack(">H", length)
        else:
            head += b"\x7f" + struct.pack(">Q", length)
        self.writer.write(head + payload)

    def send(self, message):
        self.frame(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def read_frames(self):
        while True:
            first, second = await self.reader.readexactly(2)
            assert second & 0x80, "a client masks"
            assert first & 0x70 == 0
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
                assert length > 125
            elif length == 127:
                (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
                assert length > 65535
            mask = await self.reader.readexactly(4)
            self.masks.add(mask)
            data = await self.reader.readexactly(length)
            data = bytes(byte ^ mask[i & 3] for i, byte in enumerate(data))
            opcode = first & 15
            if opcode == 8:
                self.closed_with = struct.unpack(">H", data[:2])[0] if data else 1005
                self.frame(data, 8)
                return
            if opcode == 10:
                self.pongs.append(data)
            elif opcode == 1:
                assert data.endswith(b"\n")
                message = json.loads(data)
                self.messages.append((data, message))
                if self.hub.on_message:
                    self.hub.on_message(self, message)
            else:
                raise AssertionError(f"opcode {opcode}")

    def acks(self):
        return [m for _, m in self.messages if m["route"]["operation"] == "response"]

    def keepalives(self):
        return [m for _, m in self.messages if m["route"]["operation"] == "keepalive"]


class FakeHub:
    def __init__(self, tls=None, on_open=None, on_message=None, answer=None):
        self.edges, self.errors = [], []
        self.on_open, self.on_message, self.answer, self.tls = on_open, on_message, answer, tls

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self.call(asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.tls, limit=1 << 26))
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        async def stop():
            self.server.close()
            mine = asyncio.current_task()
            for task in asyncio.all_tasks():
                if task is not mine:
                    task.cancel()
            await asyncio.sleep(0.05)

        self.call(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def serve(self, reader, writer):
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = request.split("\r\n")
            fields = {line.split(": ")[0].lower(): line.split(": ")[1] for line in lines[1:] if line}
            edge = Edge(self, reader, writer, request, fields.get("node_id"))
            if self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
                await asyncio.sleep(0.2)
                return
            accept = base64.b64encode(hashlib.sha1((fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            self.edges.append(edge)
            if self.on_open:
                self.on_open(edge)
            await edge.read_frames()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, ssl.SSLError):
            pass
        except Exception as error:  # a broken rule of the protocol
            self.errors.append(error)
        finally:
            writer.close()


def config_map(node, number, version, size=200, sent=None, **route):
    return {
        "header": {"msg_id": f"m-{node}-{number}-{version}", "timestamp": 1, "resourceversion": str(version)},
        "route": {"source": "edgecontroller", "group": "resource", "operation": "update", "resource": f"default/configmap/cm-{number}", **route},
        "content": {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": f"cm-{number}", "namespace": "default", "uid": f"uid-{number}", "resourceVersion": str(version)},
            "data": {"sent": str(sent if sent is not None else int(time.time() * 1e6)), "pad": "x" * size}},
    }


def swarm(*arguments, port=None, timeout=60, stdin=None):
    options = ["--insecure", "--hub", f"127.0.0.1:{port}"] if port else []
    done = subprocess.run([SWARM, *map(str, arguments), *options], capture_output=True, timeout=timeout, input=stdin)
    figures = json.loads(done.stdout) if done.stdout.startswith(b'{"mode"') else None
    return done, figures


def test_upgrade_keepalives_and_acknowledgements_have_the_recorded_form():
    def on_open(edge):
        for number in range(3):
            edge.send(config_map(edge.node, number, 10))

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--nodes", 2, "--count", 6, port=hub.port)
        assert done.returncode == 0, done.stderr
        assert hub.errors == []
        assert sorted(edge.node for edge in hub.edges) == ["edge-0", "edge-1"]
        for edge in hub.edges:
            assert edge.request.startswith(f"GET /{PROJECT}/{edge.node}/events HTTP/1.1\r\n")
            for line in ["Connectionuse: msg", f"Node_id: {edge.node}", f"Project_id: {PROJECT}", "Upgrade: websocket"]:
                assert line + "\r\n" in edge.request
            assert "Sec-WebSocket-Extensions" not in edge.request
            data, first = edge.messages[0]
            head = first["header"]
            assert data == (
                '{"header":{"msg_id":"%s","timestamp":%d},"route":{"source":"websocket","group":"resource","operation":"keepalive",'
                '"resource":"node"},"content":"ping"}\n' % (head["msg_id"], head["timestamp"])).encode()
            acks = [(d, m) for d, m in edge.messages if m["route"]["operation"] == "response"]
            assert [m["header"]["parent_msg_id"] for _, m in acks] == [f"m-{edge.node}-{n}-10" for n in range(3)]
            for number, (data, message) in enumerate(acks):
                head = message["header"]
                assert data == (
                    '{"header":{"msg_id":"%s","parent_msg_id":"%s","timestamp":%d},"route":{"source":"edgecontroller","group":"resource",'
                    '"operation":"response","resource":"default/configmap/cm-%d"},"content":"OK"}\n'
                    % (head["msg_id"], head["parent_msg_id"], head["timestamp"], number)).encode()
                assert abs(head["timestamp"] / 1000 - time.time()) < 60
            ids = [m["header"]["msg_id"] for _, m in edge.messages]
            assert len(set(ids)) == len(ids)
            assert len(edge.masks) == len(edge.messages) + 1
            assert edge.closed_with == 1000
    assert figures["nodes"] == figures["connected"] == 2
    assert figures["received"] == figures["distinct"] == figures["acks"] == 6
    assert figures["duplicates"] == 0 and figures["errors"] == {} and figures["complete"] is True
    assert figures["latency_us"]["samples"] == 6
    assert 0 <= figures["latency_us"]["p50"] <= figures["latency_us"]["p99"] <= figures["latency_us"]["p99.9"] <= figures["latency_us"]["max"] < 30_000_000


def test_nodes_take_turns_at_the_source_addresses():
    addresses = {}

    def on_open(edge):
        addresses[edge.node] = edge.writer.get_extra_info("peername")[0]
        edge.send(config_map(edge.node, 1, 1))

    with FakeHub(on_open=on_open) as hub:
        done, _ = swarm("sink", "--nodes", 4, "--count", 4, "--source", "127.0.0.2,127.0.0.3", port=hub.port)
        assert done.returncode == 0, done.stderr
    assert addresses == {"edge-0": "127.0.0.2", "edge-1": "127.0.0.3", "edge-2": "127.0.0.2", "edge-3": "127.0.0.3"}


@pytest.mark.parametrize("addresses", ["", "localhost", "127.0.0.2,", "127.0.0.2;127.0.0.3"])
def test_a_source_that_is_no_address_is_wrong_usage(addresses):
    done, _ = swarm("sink", "--source", addresses, port=9)
    assert done.returncode == 64 and b"--source" in done.stderr


def test_a_flood_begins_after_its_pause():
    opened, first = [], []

    def on_message(edge, message):
        if message["route"]["operation"] != "keepalive":
            first.append(time.monotonic())

    with FakeHub(on_open=lambda edge: opened.append(time.monotonic()), on_message=on_message) as hub:
        done, figures = swarm("flood", "--count", 3, "--settle", 1, "--linger", 0.2, port=hub.port)
        assert done.returncode == 0, done.stderr
    assert len(first) == 3 and min(first) - max(opened) >= 0.9
    assert figures["seconds"] < 0.9


def test_duplicates_latency_and_what_is_not_acknowledged():
    base = int(time.time() * 1e6)

    def on_open(edge):
        edge.send(config_map("n", 1, 5, sent=base - 3_000_000))
        edge.send(config_map("n", 1, 5, sent=base - 3_000_000))
        edge.send(config_map("n", 1, 6, sent=base - 3_000_000))
        edge.send(config_map("n", 2, 5, sent=base - 3_000_000, operation="delete"))
        edge.send(config_map("n", 3, 5, sent=base - 3_000_000, group="twin"))
        edge.send({"header": {"msg_id": "r"}, "route": {"source": "edgecontroller", "group": "resource", "operation": "response",
                                                        "resource": "default/podstatus/p"}, "content": "OK"})
        edge.send({"header": {"msg_id": "r"}, "route": {"source": "edgecontroller", "group": "resource", "operation": "response",
                                                        "resource": "default/podstatus/p"}, "content": "OK"})
        edge.send(config_map("n", 4, 5, sent=base - 3_000_000, resource="default/event/e"))

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--idle", 0.5, port=hub.port)
        assert done.returncode == 0, done.stderr
        assert [m["header"]["parent_msg_id"] for m in hub.edges[0].acks()] == ["m-n-1-5", "m-n-1-5", "m-n-1-6", "m-n-2-5"]
    assert (figures["received"], figures["distinct"], figures["duplicates"], figures["acks"]) == (8, 6, 2, 4)
    assert figures["latency_us"]["samples"] == 6
    assert 3_000_000 <= figures["latency_us"]["p50"] < 20_000_000


def test_fragments_pings_and_large_messages():
    big = config_map("n", 1, 1, size=3_000_000)

    def on_open(edge):
        text = json.dumps(big, separators=(",", ":")).encode() + b"\n"
        edge.frame(text, fin=False)
        edge.frame(b"hello", 9)
        edge.frame(b"", 0)
        text = json.dumps(config_map("n", 2, 1), separators=(",", ":")).encode() + b"\n"
        edge.frame(text[:7], 2, fin=False)
        edge.frame(text[7:100], 0, fin=False)
        edge.frame(text[100:], 0)

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--count", 2, port=hub.port)
        assert done.returncode == 0, done.stderr
        assert hub.edges[0].pongs == [b"hello"]
        assert [m["header"]["parent_msg_id"] for m in hub.edges[0].acks()] == ["m-n-1-1", "m-n-2-1"]
    assert figures["pings"] == 1 and figures["bytes"] > 3_000_000


@pytest.mark.parametrize("options,acks,errors,withheld", [
    (["--no-ack", "uid-1"], 3, 0, 1), (["--no-ack", "default/configmap/cm-1"], 3, 0, 1), (["--no-ack", "100%"], 0, 0, 4),
    (["--refuse", "uid-2"], 3, 1, 0), (["--silent", "100%"], 0, 0, 4), (["--ack-delay", "0.4"], 4, 0, 0),
])
def test_misbehaviour(options, acks, errors, withheld):
    opened, answered = [], []

    def on_open(edge):
        opened.append(time.monotonic())
        for number in range(4):
            edge.send(config_map("n", number, 1))

    def on_message(edge, message):
        if message["route"]["operation"] == "response":
            answered.append(time.monotonic())

    with FakeHub(on_open=on_open, on_message=on_message) as hub:
        done, figures = swarm("sink", "--idle", 1, *options, port=hub.port)
        assert done.returncode == 0, done.stderr
        edge = hub.edges[0]
        assert len(edge.acks()) == acks == figures["acks"]
        refusals = [m for _, m in edge.messages if m["route"]["operation"] == "error"]
        assert len(refusals) == errors == figures["refusals"]
        assert figures["withheld"] == withheld
        assert len(edge.keepalives()) == (0 if "--silent" in options else 1)
    if "--ack-delay" in options:
        assert min(answered) - opened[0] >= 0.4


def test_keepalives_repeat():
    with FakeHub() as hub:
        done, figures = swarm("sink", "--duration", 1.5, "--keepalive", 0.4, port=hub.port)
        assert done.returncode == 0, done.stderr
        assert 3 <= len(hub.edges[0].keepalives()) <= 5
        assert figures["keepalives"] == len(hub.edges[0].keepalives())


def test_a_stalled_node_stops_reading():
    def on_open(edge):
        for number in range(400):
            edge.send(config_map(edge.node, number, 1, size=50_000))

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--nodes", 2, "--stall", "50%", "--idle", 1.5, port=hub.port)
        assert done.returncode == 0, done.stderr
        stalled, other = sorted(hub.edges, key=lambda edge: edge.node)
        assert len(other.acks()) == 400
        assert len(stalled.acks()) < 100
    assert 400 <= figures["received"] < 500


def test_a_slow_node_reads_slowly_and_keeps_order():
    def on_open(edge):
        for number in range(400):
            edge.send(config_map(edge.node, number, 1, size=1000))

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--nodes", 2, "--slow", "50%", "--duration", 2, port=hub.port)
        assert done.returncode == 0, done.stderr
        slow, other = sorted(hub.edges, key=lambda edge: edge.node)
        assert len(other.acks()) == 400
        assert 20 <= len(slow.acks()) <= 150
        assert [m["header"]["parent_msg_id"] for m in slow.acks()] == [f"m-{slow.node}-{n}-1" for n in range(len(slow.acks()))]


def test_a_flood_goes_on_after_a_loss():
    def on_message(edge, message):
        if message["route"]["operation"] == "update" and len(hub.edges) == 1 and len(edge.messages) > 5:
            edge.writer.transport.abort()

    with FakeHub(on_message=on_message) as hub:
        done, figures = swarm("flood", "--count", 30, "--rate", 30, "--reconnect", port=hub.port)
        assert done.returncode in (0, 75), done.stderr
        assert figures["reconnects"] == 1 and figures["finished"] == 1 and figures["sent"] + figures["unsent"] == 30
        numbers = [m["content"]["seq"] for edge in hub.edges for _, m in edge.messages if m["route"]["operation"] == "update"]
        assert numbers == sorted(set(numbers)) and numbers[-1] == 29
    with FakeHub(on_message=on_message) as hub:
        done, figures = swarm("flood", "--count", 30, "--rate", 30, port=hub.port)
        assert done.returncode == 75 and figures["finished"] == 0


def test_flood_is_in_order_and_verify_agrees():
    with FakeHub() as hub:
        done, figures = swarm("flood", "--nodes", 5, "--count", 200, "--size", 700, port=hub.port)
        assert done.returncode == 0, done.stderr
        assert hub.errors == []
        lines = []
        for edge in hub.edges:
            statuses = [(d, m) for d, m in edge.messages if m["route"]["operation"] == "update"]
            assert [m["content"]["seq"] for _, m in statuses] == list(range(200))
            assert {len(d) for d, _ in statuses} == {700}
            data, message = statuses[0]
            assert message["route"] == {"source": "edged", "group": "meta", "operation": "update", "resource": f"default/podstatus/pod-{edge.node}"}
            assert message["content"]["Name"] == f"pod-{edge.node}"
            for _, m in statuses:
                m["route"]["resource"] = f"node/{edge.node}/" + m["route"]["resource"]
                lines.append(json.dumps(m, separators=(",", ":")))
    assert (figures["sent"], figures["finished"], figures["complete"]) == (1000, 5, True)
    text = "\n".join(lines).encode() + b"\n"
    done, figures = swarm("verify", "--count", 1000, stdin=text)
    assert done.returncode == 0, done.stderr
    assert (figures["messages"], figures["nodes"], figures["missing"], figures["disordered"]) == (1000, 5, 0, 0)
    del lines[10]
    lines[20], lines[21] = lines[21], lines[20]
    done, figures = swarm("verify", stdin="\n".join(lines).encode())
    assert done.returncode == 75
    assert (figures["messages"], figures["missing"], figures["disordered"]) == (999, 2, 1)


def test_flood_keeps_to_its_rate():
    with FakeHub() as hub:
        done, figures = swarm("flood", "--nodes", 4, "--count", 25, "--rate", 50, port=hub.port)
    assert done.returncode == 0, done.stderr
    assert 1.8 <= figures["seconds"] <= 4


def test_connect_in_rounds():
    with FakeHub() as hub:
        done, figures = swarm("connect", "--nodes", 10, "--rounds", 3, port=hub.port)
        assert done.returncode == 0, done.stderr
        assert len(hub.edges) == 30
        assert all(edge.closed_with == 1000 for edge in hub.edges)
    assert [(r["opened"], r["full"], r["resumed"]) for r in figures["rounds"]] == [(10, 10, 0)] * 3
    assert figures["rounds"][2]["connect_us"]["samples"] == 10


def test_reconnects_after_a_loss():
    def on_open(edge):
        if len(hub.edges) == 1:
            edge.frame(struct.pack(">H", 1001) + b"shutdown", 8)
        else:
            edge.send(config_map("n", 1, 1))

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--count", 1, "--reconnect", port=hub.port)
        assert done.returncode == 0, done.stderr
        assert len(hub.edges) == 2
    assert (figures["reconnects"], figures["lost"], figures["errors"]) == (1, 1, {"closed-1001": 1})


def test_a_lost_connection_without_reconnect_ends_the_run():
    with FakeHub(on_open=lambda edge: edge.frame(struct.pack(">H", 1001), 8)) as hub:
        done, figures = swarm("sink", "--count", 1, port=hub.port)
    assert done.returncode == 75
    assert figures["errors"] == {"closed-1001": 1} and figures["complete"] is False
    assert len(done.stderr.strip().split(b"\n")[-1]) < 200


@pytest.mark.parametrize("answer,status,cause", [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 77, "http-403"),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n", 75, "http-503"),
    (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", 76, "upgrade"),
    (b"nonsense\r\n\r\n", 76, "upgrade"),
])
def test_refused_upgrades(answer, status, cause):
    with FakeHub(answer=answer) as hub:
        done, figures = swarm("sink", "--connect-timeout", 0, port=hub.port)
    assert done.returncode == status, done.stderr
    assert figures["errors"] == {cause: 1} and figures["connected"] == 0


@pytest.mark.parametrize("raw", [
    b"\x81\x85abcdhello", b"\xc1\x00", b"\x83\x00", b"\x89\x7e\x00\x7e", b"\x09\x00", b"\x80\x00", b"\x81\x7e\x00\x05hello",
    b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01\x01{\x81\x01}",
])
def test_broken_frames_end_with_76(raw):
    with FakeHub(on_open=lambda edge: edge.writer.write(raw)) as hub:
        done, figures = swarm("sink", "--count", 1, port=hub.port)
    assert done.returncode == 76, done.stderr
    assert figures["errors"] == {"protocol": 1}


@pytest.mark.parametrize("text", [b"", b"\n", b"{", b"[]\n", b'{"header":{}}', b'\xff', b'{"hub":{"kind":"up"},"header":{},"route":{}}'])
def test_broken_messages_are_counted(text):
    def on_open(edge):
        edge.frame(text)
        edge.send(config_map("n", 1, 1))

    with FakeHub(on_open=on_open) as hub:
        done, figures = swarm("sink", "--idle", 0.5, port=hub.port)
    assert done.returncode == 76, done.stderr
    assert figures["errors"] == {"malformed": 1} and figures["acks"] == 1


def test_nobody_listens():
    done, figures = swarm("sink", "--count", 1, "--connect-timeout", 0.3, port=1)
    assert done.returncode == 69
    assert set(figures["errors"]) == {"tcp-refused"}


def test_terminate_prints_figures():
    with FakeHub() as hub:
        process = subprocess.Popen(
            [SWARM, "sink", "--insecure", "--hub", f"127.0.0.1:{hub.port}", "--nodes", "3", "--count", "5"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        try:
            for line in process.stderr:
                if b"event=ready" in line:
                    break
            process.send_signal(signal.SIGUSR1)
            assert any(b"event=counters" in process.stderr.readline() for _ in range(5))
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode == 0
        assert json.loads(output)["connected"] == 3
        assert all(edge.closed_with == 1000 for edge in hub.edges)


@pytest.mark.parametrize("arguments", [
    ["sink", "--nodes", "0"], ["sink", "--prefix", "UP"], ["sink", "--hub", "a:b"], ["sink"], ["flood", "--insecure", "--count", "0"],
    ["sink", "--insecure", "--no-ack", "101%"], ["sink", "--insecure", "--stall", "key"], ["generate", "--lane", "x"], ["dance"],
])
def test_wrong_usage(arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    assert subprocess.run([SWARM, *arguments], capture_output=True, timeout=20, env=environment).returncode == 64


@pytest.mark.parametrize("lane", ["ack", "once"])
def test_generated_lines(lane):
    done, _ = swarm("generate", "--nodes", 3, "--count", 300, "--size", 1024, "--keys", 2, "--lane", lane, "--first-version", 7)
    assert done.returncode == 0
    lines = done.stdout.split(b"\n")
    assert lines.pop() == b"" and len(lines) == 300
    assert {len(line) for line in lines} == {1023}
    messages = [json.loads(line) for line in lines]
    assert len({m["header"]["msg_id"] for m in messages}) == 300
    assert [m["route"]["resource"].split("/")[1] for m in messages[:4]] == ["edge-0", "edge-1", "edge-2", "edge-0"]
    if lane == "ack":
        assert [m["header"]["resourceversion"] for m in messages] == [str(7 + i) for i in range(300)]
        assert len({m["content"]["metadata"]["uid"] for m in messages}) == 6
        assert all(m["content"]["metadata"]["resourceVersion"] == m["header"]["resourceversion"] for m in messages)
        assert abs(int(messages[0]["content"]["data"]["sent"]) / 1e6 - time.time()) < 60
    else:
        assert all(m["route"]["resource"].endswith("/twin/cloud_updated") for m in messages)
        assert abs(messages[0]["content"]["sent"] / 1e6 - time.time()) < 60


def test_generate_keeps_to_its_rate_and_notices_a_gone_reader():
    start = time.monotonic()
    done, _ = swarm("generate", "--count", 30, "--rate", 20)
    assert 1.3 <= time.monotonic() - start <= 4 and done.stdout.count(b"\n") == 30
    process = subprocess.Popen([SWARM, "generate", "--count", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1000)
    process.stdout.close()
    assert process.wait(20) == 74
    process.stderr.close()


# Certificates, joining, TLS


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60, **options).stdout


class Authority:
    """A CA and a server certificate for 127.0.0.1, made by the openssl command."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        (directory / "server.ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        (directory / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
        ca, server = directory / "ca", directory / "server"
        for name in (ca, server):
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        openssl("req", "-x509", "-new", "-key", f"{ca}.key", "-subj", "/CN=KubeEdge", "-days", "2", "-out", f"{ca}.crt")
        openssl("req", "-new", "-key", f"{server}.key", "-subj", "/CN=hub", "-out", f"{server}.csr")
        openssl("x509", "-req", "-in", f"{server}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2",
                "-extfile", directory / "server.ext", "-out", f"{server}.crt")
        self.der = openssl("x509", "-in", f"{ca}.crt", "-outform", "DER")
        self.bearer = "header.claims.signature"
        self.token = hashlib.sha256(self.der).hexdigest() + "." + self.bearer

    def sign(self, request):
        return openssl("x509", "-req", "-inform", "DER", "-CA", self.directory / "ca.crt", "-CAkey", self.directory / "ca.key",
                       "-set_serial", str(time.time_ns()), "-days", "2", "-extfile", self.directory / "client.ext", "-outform", "DER",
                       input=request)

    def context(self, client=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        if client:
            context.load_verify_locations(self.directory / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class FakeCerts:
    """The HTTPS service of an authority."""

    def __init__(self, authority, status=None, der=None, close=False):
        service = self
        self.requests, self.connections = [], 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                service.connections += 1
                super().setup()

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.requests.append((self.path, dict(self.headers), body))
                if self.path == "/ca.crt":
                    return self.reply(200, der or authority.der)
                if status or self.headers.get("Authorization") != f"Bearer {authority.bearer}":
                    return self.reply(status or 401, b"no")
                self.reply(200, authority.sign(body))

            def reply(self, code, data):
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                if close:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = authority.context(client=False).wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca") / "own")


@pytest.fixture
def token_file(authority, tmp_path):
    path = tmp_path / "token"
    path.write_text(authority.token + "\n")
    return path


def joined(mode, hub, certs, token_file, *arguments, **options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    command = [SWARM, mode, "--hub", f"127.0.0.1:{hub.port}", "--certs-url", certs.url if certs else "https://127.0.0.1:1"]
    if token_file:
        command += ["--token-file", str(token_file)]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, timeout=60, env=environment, **options)
    return done, json.loads(done.stdout) if done.stdout else None


@pytest.mark.parametrize("close", [False, True])
def test_join_and_later_runs_without_token(authority, token_file, tmp_path, close):
    store = tmp_path / "edges"
    with FakeHub(tls=authority.context()) as hub, FakeCerts(authority, close=close) as certs:
        done, figures = joined("connect", hub, certs, token_file, "--nodes", 6, "--cert-dir", store, "--join-parallel", 2)
        assert done.returncode == 0, done.stderr
        assert figures["rounds"][0]["full"] == 6
        assert [path for path, _, _ in certs.requests].count("/ca.crt") == 1
        signed = [(headers, body) for path, headers, body in certs.requests if path == "/edge.crt"]
        assert sorted(headers["NodeName"] for headers, _ in signed) == [f"edge-{n}" for n in range(6)]
        assert certs.connections == (7 if close else 3)
        for headers, body in signed:
            subject = openssl("req", "-inform", "DER", "-noout", "-subject", "-verify", input=body).decode()
            assert "O = system:nodes" in subject and f"CN = system:node:{headers['NodeName']}" in subject
        for edge in hub.edges:
            names = dict(pair[0] for pair in edge.peer["subject"])
            assert names == {"organizationName": "system:nodes", "commonName": f"system:node:{edge.node}"}
        assert sorted(os.listdir(store)) == sorted(["rootCA.crt"] + [f"edge-{n}.{kind}" for n in range(6) for kind in ("crt", "key")])
        assert store.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in store.iterdir()} == {0o600}
        assert authority.bearer.encode() not in done.stderr

        count = len(certs.requests)
        done, figures = joined("connect", hub, None, None, "--nodes", 6, "--cert-dir", store)
        assert done.returncode == 0, done.stderr
        assert len(certs.requests) == count

        (store / "edge-3.key").write_text("damaged")
        done, figures = joined("connect", hub, certs, token_file, "--nodes", 7, "--cert-dir", store)
        assert done.returncode == 0, done.stderr
        assert sorted(headers["NodeName"] for _, headers, _ in certs.requests[count:]) == ["edge-3", "edge-6"]
        done, figures = joined("connect", hub, None, None, "--nodes", 8, "--cert-dir", store)
        assert done.returncode == 78 and figures is None


def test_the_token_may_come_from_a_descriptor_or_a_pipe(authority, tmp_path):
    with FakeHub(tls=authority.context()) as hub, FakeCerts(authority) as certs:
        for option in ("--token-fd", "--token-file"):
            read, write = os.pipe()
            os.write(write, authority.token.encode())
            os.close(write)
            value = str(read) if option == "--token-fd" else f"/dev/fd/{read}"
            done, figures = joined("connect", hub, certs, None, option, value, pass_fds=[read])
            os.close(read)
            assert done.returncode == 0, done.stderr


def test_resumed_sessions(authority, token_file):
    with FakeHub(tls=authority.context()) as hub, FakeCerts(authority) as certs:
        done, figures = joined("connect", hub, certs, token_file, "--nodes", 4, "--rounds", 3, "--resume")
        assert done.returncode == 0, done.stderr
        assert [(r["full"], r["resumed"]) for r in figures["rounds"]] == [(4, 0), (0, 4), (0, 4)]
        assert [edge.resumed for edge in hub.edges] == [False] * 4 + [True] * 8


def test_acknowledgements_over_tls(authority, token_file):
    def on_open(edge):
        for number in range(300):
            edge.send(config_map(edge.node, number, 1, size=1000))

    with FakeHub(tls=authority.context(), on_open=on_open) as hub, FakeCerts(authority) as certs:
        done, figures = joined("sink", hub, certs, token_file, "--nodes", 3, "--count", 900)
        assert done.returncode == 0, done.stderr
        assert hub.errors == []
        assert [len(edge.acks()) for edge in hub.edges] == [300] * 3
        assert all(edge.closed_with == 1000 for edge in hub.edges)
    assert figures["distinct"] == figures["acks"] == 900


def test_what_can_be_wrong_with_certificates(authority, token_file, tmp_path):
    other = Authority(tmp_path / "other")
    with FakeHub(tls=authority.context()) as hub, FakeHub(tls=other.context()) as stranger:
        with FakeCerts(other) as certs:  # a man in the middle
            done, _ = joined("connect", hub, certs, token_file)
            assert done.returncode == 78 and b"token names" in done.stderr
            assert [path for path, _, _ in certs.requests] == ["/ca.crt"]
        with FakeCerts(other, der=authority.der) as certs:  # one that shows the true CA
            done, _ = joined("connect", hub, certs, token_file)
            assert done.returncode == 78
            assert [path for path, _, _ in certs.requests] == ["/ca.crt"]
        with FakeCerts(authority) as certs:
            done, figures = joined("connect", stranger, certs, token_file)
            assert done.returncode == 78 and figures["errors"] == {"tls": 1}
            done, figures = joined("connect", hub, certs, token_file, "--server-name", "127.0.0.2")
            assert done.returncode == 78
        with FakeCerts(authority, status=401) as certs:
            done, _ = joined("connect", hub, certs, token_file)
            assert done.returncode == 77
        with FakeCerts(authority, der=b"x") as certs:
            done, _ = joined("connect", hub, certs, token_file)
            assert done.returncode == 76
        token_file.write_text("secret")
        done, _ = joined("connect", hub, None, token_file)
        assert done.returncode == 78 and b"secret" not in done.stderr
        done, _ = joined("connect", hub, None, tmp_path / "nothing")
        assert done.returncode == 66
        assert hub.edges == []


def test_a_new_authority_replaces_the_kept_one(authority, token_file, tmp_path):
    store, other = tmp_path / "edges", Authority(tmp_path / "other")
    with FakeHub(tls=other.context()) as hub, FakeCerts(other) as certs:
        path = tmp_path / "token2"
        path.write_text(other.token)
        assert joined("connect", hub, certs, path, "--nodes", 2, "--cert-dir", store)[0].returncode == 0
    with FakeHub(tls=authority.context()) as hub, FakeCerts(authority) as certs:
        done, figures = joined("connect", hub, certs, token_file, "--nodes", 2, "--cert-dir", store)
        assert done.returncode == 0, done.stderr
        assert len(certs.requests) == 3
