"""The edge wire, as raw as an attacker wants it: TLS with a node's certificate, an upgrade, and frames that may break every rule."""

import base64
import json
import os
import socket
import ssl
import struct
import time
from pathlib import Path

PROJECT = "e632aba927ea4ac2b575ec1603d56f10"


class Material:
    """The directory with the CA and the nodes' certificates, as `edge.join` leaves it."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.ca = str(self.directory / "ca.pem")

    def context(self, node=None):
        context = ssl.create_default_context(cafile=self.ca)
        if node:
            context.load_cert_chain(self.directory / f"{node}.crt", self.directory / f"{node}.key")
        return context


def plain(port, source="127.0.0.1", timeout=10):
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(node):
    return (
        f"GET /{PROJECT}/{node}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nnode_id: {node}\r\nproject_id: {PROJECT}\r\n\r\n"
    ).encode()


def frame(payload=b"", opcode=1, fin=True, length=None):
    """Masked with zeros, which is allowed and costs nothing."""
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += b"\xfe" + struct.pack("!H", length)
    else:
        head += b"\xff" + struct.pack("!Q", length)
    return head + b"\0\0\0\0" + payload


def message(operation="update", content="x", message_id="m", source="edged", resource="default/pod/a", parent=None, group="meta"):
    header = {"msg_id": message_id, "timestamp": int(time.time() * 1000), **({"parent_msg_id": parent} if parent else {})}
    route = {"source": source, "group": group, "operation": operation, "resource": resource}
    return json.dumps({"header": header, "route": route, "content": content}, separators=(",", ":")).encode()


class Link:
    """One connected node."""

    def __init__(self, port, material, node, source="127.0.0.1", identity=None):
        self.socket = material.context(identity or node).wrap_socket(plain(port, source), server_hostname="127.0.0.1")
        self.socket.sendall(request(node))
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.status = int(head.split(b" ")[1])
        if identity is None:
            assert self.status == 101, head

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError("closed")
        self.buffer += data

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self):
        """The next frame: opcode and payload."""
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._take(8))[0]
        return first & 15, self._take(length)

    def send(self, data):
        self.socket.sendall(data)

    def send_message(self, *arguments, **named):
        self.send(frame(message(*arguments, **named)))

    def answer(self, parent):
        """Waits for the message that answers `parent`; answers the hub's pings."""
        while True:
            opcode, payload = self.read()
            assert opcode != 8, f"closed with {payload[:2].hex()}"
            if opcode == 9:
                self.send(frame(payload, 10))
            elif opcode == 1 and json.loads(payload)["header"].get("parent_msg_id") == parent:
                return

    def close_code(self, timeout=10):
        """The code of the close frame that comes."""
        self.socket.settimeout(timeout)
        while True:
            opcode, payload = self.read()
            if opcode == 8:
                return struct.unpack("!H", payload[:2])[0]

    def is_served(self, message_id="alive", timeout=10):
        self.socket.settimeout(timeout)
        self.send_message("ping", message_id=message_id)
        self.answer(message_id)
        return True

    def close(self):
        self.send(frame(struct.pack("!H", 1000), 8))
        try:
            while self.socket.recv(4096):
                pass
        except OSError:
            pass
        self.socket.close()
