"""The opening handshake of hub-wsserve against RFC 6455, 4.2, and RFC 9112: what is answered, and that nothing has two meanings."""

import socket
import time

import h11
import pytest
from conformance_kit import Peer, message, raw
from conftest import wait_until
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsserve_kit import PATIENCE, Server

GOOD = {
    "Host": "hub", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "node_id": "edge-0", "project_id": "p",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("http"), "--log-level", "warning")
    yield running
    try:
        running.stop()
    finally:
        running.kill()


def request(method="GET", target="/p/edge-0/events", version="HTTP/1.1", without=(), more="", **changed):
    """The bytes of a request; keyword arguments replace headers, `_` standing for `-`."""
    headers = {name: changed.get(name.replace("-", "_"), value) for name, value in GOOD.items() if name not in without}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} {version}\r\n{lines}{more}\r\n".encode()


def answer(server, data):
    """The one answer to `data`, parsed by h11, and whether the connection ended behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]))
    client.send(h11.EndOfMessage())
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        body = b""
        response = None
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(connection.recv(1 << 16))
            elif isinstance(event, (h11.Response, h11.InformationalResponse)):
                response = event
                if event.status_code == 101:
                    return event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(f"{event} after {response}")
        try:
            assert connection.recv(1) == b"", "the connection goes on after a refusal"
        except ConnectionResetError:
            pass
        return response, body


def header(response, name):
    return dict(response.headers).get(name.lower().encode())


def test_the_example_of_the_rfc(server):
    """1.3: the key of the example has this answer."""
    response, _ = answer(server, request())
    assert response.status_code == 101
    assert header(response, "Sec-WebSocket-Accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert header(response, "Upgrade").lower() == b"websocket" and header(response, "Connection").lower() == b"upgrade"
    assert header(response, "Sec-WebSocket-Protocol") is None and header(response, "Sec-WebSocket-Extensions") is None


def test_wsproto_accepts_the_handshake(server):
    client = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        headers = [(b"node_id", b"edge-1"), (b"project_id", b"p")]
        connection.sendall(client.send(Request(host="hub", target="/p/edge-1/events", extra_headers=headers)))
        client.receive_data(connection.recv(4096))
        assert isinstance(next(client.events()), AcceptConnection)


@pytest.mark.parametrize(
    "data",
    [
        request(Connection="keep-alive, Upgrade"),
        request(Upgrade="WebSocket"),
        request(Upgrade="h2c, websocket"),
        request(Connection="UPGRADE"),
        request(target="/any/path?and=query"),
        request(more="Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\nOrigin: http://x\r\n"),
        request(more="Content-Length: 0\r\n"),
        request(more="".join(f"X-{number}: y\r\n" for number in range(90))),
        request(without=("project_id",)),
    ],
    ids=["connection list", "upgrade in capitals", "upgrade list", "connection in capitals", "path", "offers", "empty body", "90 headers", "no project"],
)  # fmt: skip
def test_good_requests(server, data):
    assert answer(server, data)[0].status_code == 101


@pytest.mark.parametrize(
    "status, data",
    [
        # 4.2.1, 1: a GET of HTTP/1.1
        (400, request("POST")),
        (400, request("PUT", more="Content-Length: 0\r\n")),
        (400, request("HEAD")),
        (400, request(version="HTTP/1.0")),
        # 4.2.1, 2: Host (RFC 9112, 3.2: exactly one)
        (400, request(without=("Host",))),
        (400, request(more="Host: other\r\n")),
        # 4.2.1, 3 and 4
        (426, request(without=("Upgrade",))),
        (426, request(Upgrade="h2c")),
        (426, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, request(without=("Connection",))),
        (400, request(Connection="close")),
        # 4.2.1, 5: 16 bytes in base64
        (400, request(without=("Sec-WebSocket-Key",))),
        (400, request(Sec_WebSocket_Key="")),
        (400, request(Sec_WebSocket_Key="dGhlIHNhbXBsZQ==")),
        (400, request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSBpcyB0b28gbG9uZw==")),
        (400, request(Sec_WebSocket_Key="!!!!!!!!!!!!!!!!!!!!!!==")),
        (400, request(more="Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")),
        # 4.2.1, 6, and 4.4
        (426, request(Sec_WebSocket_Version="8")),
        (426, request(Sec_WebSocket_Version="14")),
        (426, request(Sec_WebSocket_Version="abc")),
        (400, request(without=("Sec-WebSocket-Version",))),
        (400, request(more="Sec-WebSocket-Version: 8\r\n")),
        # Names with two meanings
        (400, request(more="node_id: edge-1\r\n")),
        (400, request(more="Node_Id: edge-0\r\n")),
        (400, request(more="project_id: q\r\n")),
        (400, request(project_id="x" * 254)),
        (403, request(without=("node_id",))),
        (403, request(node_id="")),
        (403, request(node_id="Edge-0")),
        (403, request(node_id="edge-0, edge-1")),
        (403, request(node_id="../edge-0")),
        (403, request(node_id="x" * 254)),
        # Bodies, and two lengths (RFC 9112, 6.3)
        (400, request(more="Content-Length: 3\r\n") + b"abc"),
        (400, request(more="Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n"),
        (400, request(more="Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n"),
        (400, request(more="Content-Length: 3\r\nContent-Length: 4\r\n") + b"abcd"),
        (400, request(more="Content-Length: -1\r\n")),
        # Heads without bound, and no HTTP at all
        (400, request(more="X: " + "y" * 20_000 + "\r\n")),
        (400, request(target="/" + "y" * 100_000)),
        (400, request(more="".join(f"X-{number}: {'y' * 500}\r\n" for number in range(50)))),
        (400, request(more="".join(f"X-{number}: y\r\n" for number in range(200)))),
        (400, request(more=" folded: y\r\n")),
        (400, request(more="X : y\r\n")),
        (400, request(more="X: a\0b\r\n")),
        (400, b"\r\n\r\n\0\0\0\0\r\n\r\n"),
        (400, b"GET / HTTP/2.0\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50)),
        (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ],
)
def test_bad_requests(server, status, data):
    response, _ = answer(server, data)
    assert response.status_code == status
    if status in (400, 426):
        # 4.4: the versions that are spoken.
        assert header(response, "Sec-WebSocket-Version") == b"13" or b"Sec-WebSocket" not in data
    if status == 426:
        # RFC 9110, 15.5.22
        assert header(response, "Upgrade") == b"websocket"


def test_frames_right_behind_the_request_are_taken(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        text = message(70_000, number="behind")
        connection.sendall(request(node_id="edge-7") + raw(1, text) + raw(9, b"behind"))
        data = b""
        while not data.endswith(b"\x8a\x06behind"):
            data += connection.recv(4096)
        while (line := server.line())["hub"].get("node") != "edge-7" or line["hub"]["kind"] != "up":
            pass
        assert line["header"]["msg_id"] == "m-behind"


def test_a_second_request_behind_a_refused_one_is_not_answered(server):
    response, body = answer(server, request(without=("node_id",)) + request())
    assert response.status_code == 403 and body.count(b"HTTP/") == 0


def test_the_head_may_come_byte_by_byte(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(node_id="edge-8"):
            connection.sendall(bytes([byte]))
        assert connection.recv(100).startswith(b"HTTP/1.1 101 ")


def test_the_log_escapes_what_a_peer_says(server):
    time.sleep(1.1)  # the log takes so many lines of one address a second
    answer(server, request(node_id='x" event=forged\tlevel=error'))
    Peer(server, "edge-9").leave()
    line = wait_until(lambda: next((line for line in server.errors if "forged" in line), None))
    assert "event=refused" in line and 'node="x\\" event=forged\\tlevel=error"' in line
