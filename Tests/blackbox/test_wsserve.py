"""hub-wsserve as a black box: TLS, upgrade, frames, sessions, bounds and signals, seen from both of its sides."""

import asyncio
import contextlib
import json
import os
import queue
import signal
import socket
import ssl
import struct
import subprocess
import time

import pytest
import websockets
from wsserve_kit import (
    PATIENCE, WSSERVE, Authority, authority, close_code, down, event, frame, read_frame, start, up, upgrade_request,
)

__all__ = ["authority", "start"]  # fixtures

# Sessions


def test_a_node_connects_talks_and_leaves(start, authority):
    server = start(authority=authority)

    async def play():
        reset = server.line()
        assert reset["hub"] == {"kind": "event", "event": "reset"}
        async with server.connect() as edge:
            assert edge.response.headers.get("Sec-WebSocket-Protocol") is None
            connected = server.line()
            session = connected["hub"]["session"]
            assert connected["hub"] == {"kind": "event", "node": "edge-0", "session": session, "event": "connected"}
            assert abs(session / 1e6 - time.time()) < 60 and session < 1 << 53
            assert connected["route"] == {
                "source": "cloudhub", "group": "resource", "operation": "connected", "resource": "node/edge-0",
            }
            content = connected["content"]
            assert content["event_type"] == "connected" and content["client_id"] == "edge-0"
            assert content["project_id"] == "project-1" and content["protocol"] == "websocket"
            assert content["remote"].startswith("127.0.0.1:") and abs(content["timestamp"] - time.time()) < 60
            assert abs(connected["header"]["timestamp"] / 1000 - time.time()) < 60 and len(connected["header"]["msg_id"]) == 36
            await edge.send(json.dumps(up()) + "\n")
            line = server.lines.get(timeout=PATIENCE)
            assert line == b'{"hub":{"kind":"up","node":"edge-0","session":%d},' % session + json.dumps(up()).encode()[1:] + b"\n"
            message = down(1, session=session, content={"uni": "é", "ls": "\u2028"})
            raw = json.dumps(message, ensure_ascii=False).encode()
            server.send(raw)
            received = await asyncio.wait_for(edge.recv(), PATIENCE)
            del message["hub"]
            assert received == "{" + raw.decode().split("},", 1)[1] + "\n" and json.loads(received) == message
        gone = server.line()
        assert gone["hub"] == {
            "kind": "event", "node": "edge-0", "session": session, "event": "disconnected", "reason": "closed by peer",
        }

    asyncio.run(play())
    server.stop()


def test_plain_lines_name_their_node_by_the_resource(start):
    server = start()

    async def play():
        async with server.connect() as edge:
            server.event("connected")
            for resource, inner in [
                ("node/edge-0/default/pod/a", "default/pod/a"),
                ("upgrade/u1/node/edge-0", "upgrade/u1/node/edge-0"),
                ("node/edge-0", "node/edge-0"),
            ]:
                server.send({"header": {}, "route": {"resource": resource}, "content": 1})
                assert json.loads(await asyncio.wait_for(edge.recv(), PATIENCE))["route"]["resource"] == inner
        server.send({"header": {}, "route": {"resource": "no/such"}}, {"header": {}, "route": {"resource": "node/Not_A_Name/x"}}, b"[]")

    asyncio.run(play())
    deadline = time.monotonic() + PATIENCE
    while sum("event=reject" in line for line in server.errors) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    rejects = [line for line in server.errors if "event=reject" in line]
    assert len(rejects) == 3 and "line=4" in rejects[0] and "input=-" in rejects[0], rejects
    server.stop()


def test_a_second_connection_replaces_the_first(start, authority):
    server = start("--threads", "4", authority=authority)

    async def play():
        sessions = []
        connections = []
        for _ in range(8):
            connections.append(await server.connect())
            await connections[-1].send(json.dumps(up()))
            if sessions:
                line = server.event("disconnected")
                assert line["hub"]["session"] == sessions[-1] and line["hub"]["reason"] == "replaced"
            line = server.event("connected")
            assert not sessions or line["hub"]["session"] > sessions[-1]
            sessions.append(line["hub"]["session"])
        for old in connections[:-1]:
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(old.recv(), PATIENCE)
        server.send(down(1, session=sessions[-1]))
        assert json.loads(await asyncio.wait_for(connections[-1].recv(), PATIENCE))["header"]["msg_id"] == "down-1"
        await connections[-1].close()
        assert server.event("disconnected")["hub"]["session"] == sessions[-1]
        with pytest.raises(queue.Empty):
            server.event("disconnected", timeout=0.3)

    asyncio.run(play())
    server.stop()


def test_no_line_of_a_session_stands_outside_its_events(start):
    server = start("--threads", "4")

    async def flood(stop):
        while not stop.is_set():
            with contextlib.suppress(websockets.ConnectionClosed, OSError):
                async with server.connect() as edge:
                    for number in range(50):
                        await edge.send(json.dumps(up(number)))

    async def play():
        stop = asyncio.Event()
        tasks = [asyncio.create_task(flood(stop)) for _ in range(4)]
        await asyncio.sleep(2)
        stop.set()
        await asyncio.gather(*tasks)

    asyncio.run(play())
    server.stop()
    live, seen, count = None, 0, 0
    while (line := server.line()) is not None:
        hub = line["hub"]
        if hub["kind"] == "up":
            assert hub["session"] == live
            count += 1
        elif hub["event"] == "connected":
            assert live is None and hub["session"] > seen
            live = seen = hub["session"]
        elif hub["event"] == "disconnected":
            assert hub["session"] == live
            live = None
    assert live is None and count > 100


def test_who_is_answered_by_connected_again_and_live(start):
    server = start()

    async def play():
        async with server.connect("edge-0"), server.connect("edge-1"):
            sessions = {server.event("connected")["hub"]["session"] for _ in range(2)}
            server.send(event("who", msg_id="question"))
            again = [server.line() for _ in range(2)]
            assert all(line["hub"]["event"] == "connected" and line["hub"]["again"] is True for line in again)
            assert {line["hub"]["session"] for line in again} == sessions
            live = server.line()
            assert live["hub"]["event"] == "live" and live["header"]["parent_msg_id"] == "question"

    asyncio.run(play())
    server.stop()


def test_close_ends_one_session_and_a_gone_one_is_answered(start):
    server = start()

    async def play():
        async with server.connect("edge-0") as edge, server.connect("edge-1") as other:
            session = {line["hub"]["node"]: line["hub"]["session"] for line in (server.event("connected") for _ in range(2))}
            server.send(event("close", "edge-1", session=session["edge-1"] - 1, reason="late"))
            line = server.line()
            assert line["hub"]["event"] == "disconnected" and line["hub"]["session"] == session["edge-1"] - 1
            assert line["hub"]["reason"] == "gone"
            server.send(event("close", "edge-0", session=session["edge-0"], reason="keepalive timeout"))
            line = server.line()
            assert line["hub"] == {
                "kind": "event", "node": "edge-0", "session": session["edge-0"], "event": "disconnected", "reason": "keepalive timeout",
            }
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(edge.recv(), PATIENCE)
            server.send(down(1, session=session["edge-0"]), down(2, "edge-1", session=session["edge-1"]), down(3, "nobody"))
            assert server.line()["hub"]["reason"] == "gone"
            assert json.loads(await asyncio.wait_for(other.recv(), PATIENCE))["header"]["msg_id"] == "down-2"

    asyncio.run(play())
    counters = server.counters()
    assert counters["dropped_gone"] == 2 and counters["dropped_offline"] == 1
    server.stop()


# Identity and admission


def refusal(server, status, **options):
    async def play():
        with pytest.raises(websockets.InvalidStatus) as caught:
            await server.connect(**options)
        assert caught.value.response.status_code == status
        return caught.value.response

    return asyncio.run(play())


def test_the_certificate_names_the_node(start, authority):
    authority.issue("no-organization", "system:node:edge-0", [])
    authority.issue("two-organizations", "system:node:edge-0", ["system:nodes", "system:masters"])
    authority.issue("no-prefix", "edge-0", ["system:nodes"])
    server = start(authority=authority)
    for identity in ["no-organization", "two-organizations", "no-prefix", authority.node("edge-1")]:
        refusal(server, 403, identity=identity)
    refusal(server, 403, headers={"Project_id": "p"})
    refusal(server, 403, headers={"Node_id": "edge-1"})
    refusal(server, 403, headers={"Node_id": "../edge-0"})
    assert server.counters()["refused_identity"] == 7
    server.stop()
    assert {line["hub"]["event"] for line in iter(server.line, None)} == {"reset"}


def test_old_certificates_need_an_option(start, authority):
    authority.issue("legacy", "kubeedge.io", ["KubeEdge"])
    refusal(start(authority=authority), 403, identity="legacy")
    server = start("--legacy-identity", authority=authority)

    async def play():
        async with server.connect("edge-7", identity="legacy"):
            assert server.event("connected")["hub"]["node"] == "edge-7"

    asyncio.run(play())
    server.stop()


@pytest.mark.parametrize("case", ["none", "foreign", "expired", "server"])
def test_a_certificate_must_verify(start, authority, tmp_path, case):
    server = start(authority=authority)
    client = authority.client()
    if case == "foreign":
        directory = tmp_path / "foreign"
        directory.mkdir()
        foreign = Authority(directory)
        client.load_cert_chain(directory / f"{foreign.node('edge-0')}.crt", directory / "edge-0.key")
    elif case != "none":
        name = authority.issue(f"bad-{case}", "system:node:edge-0", ["system:nodes"], server=case == "server", days=-1 if case == "expired" else 1)
        client.load_cert_chain(authority.directory / f"{name}.crt", authority.directory / f"{name}.key")

    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with client.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                secure.sendall(upgrade_request("edge-0"))
                if not secure.recv(1):
                    raise ConnectionError
    assert server.counter("handshake_failed", 1) == 1
    server.stop()


def test_old_tls_and_plain_http_are_refused(start, authority):
    server = start(authority=authority)
    client = authority.client(authority.node("edge-0"))
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.sendall(upgrade_request("edge-0"))
        assert b"HTTP" not in plain.recv(100)
    server.stop()


def test_sessions_of_tls_are_resumed(start, authority):
    server = start(authority=authority)
    client = authority.client(authority.node("edge-0"))
    session = None
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
            with client.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure:
                secure.sendall(upgrade_request("edge-0"))
                assert secure.recv(1000).startswith(b"HTTP/1.1 101")
                session = secure.session
    assert server.counters()["tls_resumed"] == 2
    server.stop()


def test_the_node_limit(start):
    server = start("--node-limit", "2")

    async def play():
        async with server.connect("edge-0"), server.connect("edge-1"):
            with pytest.raises(websockets.InvalidStatus) as caught:
                await server.connect("edge-2")
            assert caught.value.response.status_code == 503
            assert int(caught.value.response.headers["Retry-After"]) > 0
            async with server.connect("edge-1") as again:
                await again.send(json.dumps(up()))
        deadline = time.monotonic() + PATIENCE
        while server.counters()["sessions"] and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        async with server.connect("edge-2"):
            pass

    asyncio.run(play())
    server.stop()


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (upgrade_request("edge-0").replace(b"GET", b"POST"), b"400"),
        (upgrade_request("edge-0").replace(b"Version: 13", b"Version: 8"), b"426"),
        (upgrade_request("edge-0").replace(b"Sec-WebSocket-Key: SacUxZ7PIXZ2YTBFjKDlog==\r\n", b""), b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"400"),
    ],
)
def test_bad_requests(start, request_bytes, status):
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.sendall(request_bytes)
        answer = plain.recv(1000)
        assert answer.startswith(b"HTTP/1.1 " + status), answer
    server.stop()


def test_slow_handshakes_time_out_and_are_capped(start):
    server = start("--handshake-timeout", "1", "--max-handshakes", "3")
    began = time.monotonic()
    idle = [socket.create_connection(("127.0.0.1", server.port), PATIENCE) for _ in range(3)]
    time.sleep(0.2)
    with server.raw() as connection:
        # It had to wait until one of the idle ones was given up.
        assert 0.8 < time.monotonic() - began < 3
        connection.sendall(frame(b"", opcode=9))
        assert read_frame(connection)[0] == 10
    for each in idle:
        assert each.recv(1) == b""
        each.close()
    counters = server.counters()
    assert counters["handshake_timeout"] == 3 and counters["connected"] == 1
    server.stop()


# Frames


def test_frames_of_all_kinds(start):
    server = start()
    text = json.dumps(up()).encode()
    with server.raw(after=frame(text)) as edge:  # right behind the upgrade request
        server.event("connected")
        assert server.line()["header"]["msg_id"] == "up-1"
        big = json.dumps(up(2, content="x" * 200_000)).encode()
        edge.sendall(frame(b"", opcode=2, fin=False) + frame(text[:10], opcode=0, fin=False))
        edge.sendall(frame(b"between", opcode=9))
        assert read_frame(edge) == (10, b"between")
        edge.sendall(frame(text[10:], opcode=0))
        assert server.line()["header"]["msg_id"] == "up-1"
        for piece in range(0, len(big), 50_000):  # KubeEdge ends large messages with an empty frame
            edge.sendall(frame(big[piece : piece + 50_000], opcode=0 if piece else 1, fin=False))
        edge.sendall(frame(b"", opcode=0))
        assert len(server.line()["content"]) == 200_000
        edge.sendall(frame(json.dumps(up(3), indent=2).encode() + b"\r\n \n", opcode=2))
        assert server.line()["header"]["msg_id"] == "up-3"
        for byte in frame(text, key=b"\xff\x00\xaa\x55"):
            edge.sendall(bytes([byte]))
        assert server.line()["header"]["msg_id"] == "up-1"
        edge.sendall(frame(b"", opcode=10) + frame(struct.pack("!H", 1000), opcode=8))
        assert close_code(edge) == 1000
        assert edge.recv(1) == b""
    assert server.event("disconnected")["hub"]["reason"] == "closed by peer"
    server.stop()


@pytest.mark.parametrize(
    "data, code",
    [
        (frame(b"not json"), 1007),
        (frame(b'{"header":{},"route":{}} {}'), 1007),
        (frame(b'{"header":5,"route":{}'), 1007),
        (frame(b""), 1007),
        (frame(b'{"header":{},"route":{},"content":"\xff"}', opcode=2), 1007),
        (frame(b"{}", masked=False), 1002),
        (frame(b"{}", first=0xC1), 1002),
        (frame(b"{}", opcode=3), 1002),
        (frame(b"{}", opcode=0), 1002),
        (frame(b"{", fin=False) + frame(b"}"), 1002),
        (frame(b"", opcode=9, fin=False), 1002),
        (frame(b"x" * 126, opcode=9), 1002),
        (b"\x81\xfe\x00\x01", 1002),
        (b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00", 1002),
        (frame(b"\x03", opcode=8), 1002),
        (frame(struct.pack("!H", 1005), opcode=8), 1002),
        (frame(struct.pack("!H", 1000) + b"\xff", opcode=8), 1007),
        (b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x01", 1009),
        (frame(b"x" * 600_000, fin=False) + frame(b"x" * 600_000, opcode=0), 1009),
        (frame(struct.pack("!H", 4321), opcode=8), 4321),
    ],
)
def test_close_codes(start, data, code):
    server = start("--max-message", "1MiB")
    with server.raw() as edge, server.raw("edge-1") as other:
        edge.sendall(data + (b"\x00" * 4 if len(data) < 14 else b""))
        assert close_code(edge) == code
        other.sendall(frame(json.dumps(up()).encode()))
        while (line := server.line())["hub"]["kind"] != "up":
            pass
        assert line["hub"]["node"] == "edge-1"
    server.stop()


def test_json_that_is_no_message_is_refused_and_the_connection_stays(start, tmp_path):
    rejects = tmp_path / "rejects"
    server = start("--rejects", str(rejects), "--strict")
    bad = [
        b"[]", b"null", b"{}", b'{"header":{}}', b'{"header":{},"header":{},"route":{}}',
        b'{"hub":{"kind":"event","event":"disconnected","node":"edge-1","session":1},"header":{},"route":{}}',
        b'{"header":{},"route":{},"hub":{}}', b'{"hub":1,"header":{},"route":{}}', b'{"h\\u0075b":{},"header":{},"route":{}}',
        b'{"header":{},"route":{},"content":' + b"[" * 600 + b"]" * 600 + b"}",
    ]
    with server.raw() as edge:
        server.event("connected")
        for data in bad:
            edge.sendall(frame(data))
        edge.sendall(frame(json.dumps(up()).encode()))
        assert server.line()["header"]["msg_id"] == "up-1"
        counters = server.counters()
        assert counters["refused_forged"] == 4 and counters["refused_frame"] == len(bad) - 4
    server.stop()
    assert rejects.read_bytes().split(b"\n")[:-1] == bad
    assert sum("event=reject" in line and "input=edge-0" in line for line in server.errors) == len(bad)


def test_questions_are_answered_and_go_no_further(start):
    server = start()
    with server.raw() as edge:
        server.event("connected")
        for operation in ["ping", "pong", "config"]:
            edge.sendall(frame(json.dumps(up(operation, operation)).encode()))
            opcode, payload = read_frame(edge)
            answer = json.loads(payload)
            assert opcode == 1 and payload.endswith(b"\n")
            assert answer["header"].pop("msg_id") and answer["header"].pop("timestamp")
            assert answer == {
                "header": {"parent_msg_id": f"up-{operation}"},
                "route": {"source": "edged", "group": "meta", "operation": "response", "resource": "default/pod/a"},
                "content": "ack",
            }
        edge.sendall(frame(json.dumps(up()).encode()))
        assert server.line()["header"]["msg_id"] == "up-1"
    server.stop()


def test_unfinished_messages_share_a_bound(start):
    server = start("--max-buffered", "3MiB")
    with server.raw("edge-0") as largest, server.raw("edge-1") as other, server.raw("edge-2") as third:
        largest.sendall(frame(b'{"a":"' + b"x" * 1_600_000, fin=False))
        other.sendall(frame(b'{"a":"' + b"x" * 1_000_000, fin=False))
        time.sleep(0.3)
        assert server.counters()["closed_max_buffered"] == 0
        third.sendall(frame(b'{"a":"' + b"x" * 900_000, fin=False))
        assert close_code(largest) == 1013
        for edge in (other, third):
            edge.sendall(frame(b'","header":{},"route":{}}', opcode=0))
        lines = []
        while len(lines) < 2:
            line = server.line()
            if line["hub"]["kind"] == "up":
                lines.append(line["hub"]["node"])
        assert sorted(lines) == ["edge-1", "edge-2"]
    assert server.counters()["closed_max_buffered"] == 1
    server.stop()


# Time and flow


def test_pings_find_dead_links(start):
    server = start("--ping", "0.4")
    with server.raw("edge-0") as silent, server.raw("edge-1") as alive:
        began = time.monotonic()
        pings = 0
        while time.monotonic() - began < 3:
            opcode, payload = read_frame(alive)
            assert opcode == 9
            alive.sendall(frame(payload, opcode=10))
            pings += 1
        gone = server.event("disconnected")
        assert gone["hub"]["node"] == "edge-0" and gone["hub"]["reason"] == "pong timeout"
        assert 5 <= pings <= 8
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                read_frame(silent)
        assert server.counters()["sessions"] == 1
    server.stop()


def test_a_slow_reader_is_closed_and_nobody_else_waits(start):
    server = start("--max-unsent", "64KiB", "--stall", "1")
    with server.raw("edge-0", receive_buffer=4096) as slow, server.raw("edge-1") as other:
        server.event("connected")
        server.event("connected")
        content = {"x": "y" * 10_000}
        for number in range(1500):
            server.send(down(number, "edge-0", kind="once", content=content))
        server.send(down("other", "edge-1"))
        assert json.loads(read_frame(other)[1])["header"]["msg_id"] == "down-other"
        gone = server.event("disconnected")
        assert gone["hub"]["node"] == "edge-0" and gone["hub"]["reason"] == "slow reader"
        counters = server.counters()
        assert counters["closed_slow_reader"] == 1 and counters["dropped_unsent_once"] > 500
        assert counters["down"] + counters["dropped_unsent_once"] + counters["dropped_offline"] == 1501
    server.stop()


def test_a_large_message_is_accepted_and_a_reader_that_takes_some_stays(start):
    server = start("--max-unsent", "64KiB", "--stall", "1")
    with server.raw("edge-0", receive_buffer=8192) as edge:
        server.event("connected")
        server.send(down(1, content={"x": "y" * 6_000_000}))
        began = time.monotonic()
        taken = 0
        edge.settimeout(PATIENCE)
        while time.monotonic() - began < 2.5:
            taken += len(edge.recv(20_000))
            time.sleep(0.05)
        while taken < 6_000_000:
            taken += len(edge.recv(1 << 20))
        assert server.counters()["closed_slow_reader"] == 0
    server.stop()


def test_a_message_that_still_waits_is_not_taken_twice(start):
    server = start()
    with server.raw("edge-0", receive_buffer=4096) as edge:
        server.event("connected")
        server.send(down("first", content={"x": "y" * 3_000_000}))
        for _ in range(5):
            server.send(down("second"))
        server.send(down("third"))
        assert server.counter("dropped_duplicate", 4) == 4
        ids = [json.loads(read_frame(edge)[1])["header"]["msg_id"] for _ in range(3)]
        assert ids == ["down-first", "down-second", "down-third"]
        server.send(down("second"))
        assert json.loads(read_frame(edge)[1])["header"]["msg_id"] == "down-second"
    server.stop()


def test_a_full_output_stops_the_sockets_but_not_the_inputs(start):
    reading, writing = os.pipe()
    server = start("--max-output", "256KiB", "--ping", "1", "--max-unsent", "64KiB", "--stall", "1", stdout=writing)
    os.close(writing)
    with server.raw("edge-0") as edge, server.raw("edge-1") as other:
        payload = frame(json.dumps(up(content="x" * 30_000)).encode())
        edge.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 50_000_000:
                sent += edge.send(payload)
        assert server.counters()["pauses"] == 1
        # Inputs are read meanwhile, and their lines delivered; nobody is closed, though no pong is read.
        for number in range(200):
            server.send(down(number, "edge-1", content={"x": "y" * 1000}))
        seen = 0
        while seen < 200:
            seen += read_frame(other)[0] == 1
        time.sleep(3.5)
        counters = server.counters()
        assert counters["sessions"] == 2 and counters["closed_pong_timeout"] == 0 and counters["closed_slow_reader"] == 0
        server.send(event("who", msg_id="late"), down("x", "edge-1", session=1))
        assert server.counter("dropped_gone", 1) == 1
        # Once the output is read, everything comes, and the answers too.
        other.setblocking(False)
        data = b""
        with open(reading, "rb", buffering=0) as output:
            while b'"parent_msg_id":"late"' not in data:
                data += output.read(1 << 20)
                with contextlib.suppress(BlockingIOError):
                    other.recv(1 << 16)
            assert b'"reason":"gone"' in data
            ups = data.count(b'"kind":"up"')
            deadline = time.monotonic() + PATIENCE
            while ups < sent // len(payload) and time.monotonic() < deadline:
                ups += output.read(1 << 20).count(b'"kind":"up"')
            assert ups == sent // len(payload)
            server.process.terminate()
            while output.read(1 << 20):
                pass
    server.stop()


# Signals, inputs and errors


def test_sigterm_flushes_and_closes_with_1001(start, authority):
    server = start(authority=authority)

    async def play():
        async with server.connect() as edge:
            server.event("connected")
            server.send(*(down(number) for number in range(300)))
            server.process.terminate()
            received = []
            with pytest.raises(websockets.ConnectionClosed) as caught:
                while True:
                    received.append(json.loads(await asyncio.wait_for(edge.recv(), PATIENCE))["header"]["msg_id"])
            assert received == [f"down-{number}" for number in range(300)]
            assert caught.value.rcvd.code == 1001

    asyncio.run(play())
    began = time.monotonic()
    server.stop(signalled=True)
    assert time.monotonic() - began < 2
    assert server.event("disconnected")["hub"]["reason"] == "shutdown"
    assert server.line() is None


def test_a_second_sigterm_ends_at_once(start):
    server = start()
    with server.raw():
        server.event("connected")
        server.process.terminate()
        time.sleep(0.3)
        server.process.terminate()
        assert server.process.wait(timeout=1) != 0


def test_sighup_loads_new_certificates_and_keeps_the_old_if_they_fail(start, tmp_path):
    directory = tmp_path / "pki"
    directory.mkdir()
    pki = Authority(directory)
    pki.issue("server", "first", [], server=True)
    server = start(authority=pki)

    def server_name():
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
            with pki.client(pki.node("edge-0")).wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                return secure.getpeercert()["subject"][0][0][1]

    async def play():
        async with server.connect() as edge:
            assert server_name() == "first"
            pki.issue("server", "second", [], server=True)
            server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while server_name() != "second":
                assert time.monotonic() < deadline
            (directory / "server.key").write_text("no key")
            server.process.send_signal(signal.SIGHUP)
            while not any("event=reload_failed" in line for line in server.errors):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            assert server_name() == "second"
            server.send(down(1))
            assert json.loads(await asyncio.wait_for(edge.recv(), PATIENCE))["header"]["msg_id"] == "down-1"

    asyncio.run(play())
    server.stop()


def test_standard_input_and_a_control_fifo_are_both_read_and_their_end_is_no_end(start, tmp_path):
    control = tmp_path / "control"
    os.mkfifo(control)
    server = start("-", str(control))
    with server.raw() as edge:
        session = server.event("connected")["hub"]["session"]
        with open(control, "wb") as fifo:
            fifo.write(json.dumps(event("who", msg_id="from-control")).encode() + b"\n")
        assert server.event("live")["header"]["parent_msg_id"] == "from-control"
        server.send(down(1))
        assert json.loads(read_frame(edge)[1])["header"]["msg_id"] == "down-1"
        server.process.stdin.close()
        time.sleep(0.2)
        assert server.process.poll() is None
        edge.sendall(frame(json.dumps(up()).encode()))
        assert server.line()["hub"]["session"] == session
    server.stop()


def failing(*options, stdin=b""):
    done = subprocess.run([WSSERVE, *options], input=stdin, capture_output=True, timeout=PATIENCE)
    assert done.stderr.count(b"\n") >= 1
    return done.returncode, done.stderr.decode()


def test_errors_at_start(start, authority, tmp_path):
    server = start()
    status, text = failing("--insecure", "--listen", f"127.0.0.1:{server.port}")
    assert status == 73 and text.splitlines()[-1].startswith("hub-wsserve: cannot listen on 127.0.0.1:")
    server.stop()
    assert failing("--insecure", "--listen", "0.0.0.0:0")[0] == 64
    assert failing("--insecure", "--listen", "nonsense")[0] == 64
    assert failing("--listen", "127.0.0.1:0", "--dir", str(tmp_path / "none"))[0] == 78
    assert failing("--listen", "127.0.0.1:0", "--dir", str(authority.directory), "--key", str(authority.directory / "edge-0.crt"))[0] == 78
    other = authority.node("edge-9")
    status, text = failing("--listen", "127.0.0.1:0", "--dir", str(authority.directory), "--key", str(authority.directory / f"{other}.key"))
    assert status == 78 and len(text.splitlines()) == 1
    assert failing("--insecure", "--listen", "127.0.0.1:0", str(tmp_path / "no-input"))[0] == 66
    assert failing("--insecure", "--listen", "127.0.0.1:0", "--strict", stdin=b"nonsense\n")[0] == 65


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_key(authority, tmp_path):
    key = tmp_path / "key"
    key.write_bytes((authority.directory / "server.key").read_bytes())
    key.chmod(0)
    assert failing("--listen", "127.0.0.1:0", "--dir", str(authority.directory), "--key", str(key))[0] == 77


def test_a_gone_reader_ends_with_74(start):
    reading, writing = os.pipe()
    server = start(stdout=writing)
    os.close(writing)
    os.close(reading)
    with contextlib.suppress(OSError, AssertionError):
        server.raw().close()
    assert server.process.wait(timeout=PATIENCE) == 74
