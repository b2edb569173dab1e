"""RFC 6455 from outside: raw frames sent to hub-wsserve, answers parsed and judged by PyPI `wsproto`, which is not ours.

What the hub does with a payload is its own contract: a frame holds one message in JSON. So where a suite for echo servers waits for
the echo, here the message has to come out on standard output, unchanged, and the connection has to stay usable.
"""

import contextlib
import json
import os
import socket
import struct
import time

from wsproto.frame_protocol import FrameProtocol, Opcode
from wsserve_kit import PATIENCE, upgrade_request

def raw(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None, form=None, key=None):
    """One frame, which may break every rule. `length` is what the head says, `form` the number of bytes that say it (0, 2 or 8)."""
    length = len(payload) if length is None else length
    form = (0 if length < 126 else 2 if length < 1 << 16 else 8) if form is None else form
    flag = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, flag | {0: length & 0x7F, 2: 126, 8: 127}[form]])
    head += {0: b"", 2: struct.pack("!H", length & 0xFFFF), 8: struct.pack("!Q", length)}[form]
    if not masked:
        return head + payload
    key = key or os.urandom(4)
    size = len(payload)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def close(code, reason=b""):
    return raw(8, struct.pack("!H", code) + reason)


def message(size=None, number=0, content="x", resource="default/pod/a", operation="update"):
    """A message of a node as bytes; `size` pads it to exactly so many."""
    value = {
        "header": {"msg_id": f"m-{number}", "timestamp": 1},
        "route": {"source": "edged", "group": "meta", "operation": operation, "resource": resource},
        "content": content,
    }
    if size is not None and size < 256:
        value = {"header": {}, "route": {}, "content": ""}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if size is not None:
        text = text[:-2] + b"x" * (size - len(text)) + text[-2:]
    return text


def smallest():
    """The shortest message that the hub takes."""
    return b'{"header":{},"route":{}}'


class Peer:
    """One upgraded connection; `wsproto` parses what comes."""

    def __init__(self, server, node, chop=None):
        self.node = node
        self.chop = chop
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(upgrade_request(node))
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self.socket.recv(1)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        self.parser = FrameProtocol(client=True, extensions=[])
        self.frames = []
        self.has_ended = False

    def send(self, data):
        if self.chop is None:
            self.socket.sendall(data)
        else:
            for start in range(0, len(data), self.chop):
                self.socket.sendall(data[start : start + self.chop])

    def receive(self):
        """The next frame, None at the end of the connection. A frame that breaks the protocol makes wsproto raise."""
        while not self.frames:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self.parser.receive_bytes(data)
            self.frames.extend(self.parser.received_frames())
        return self.frames.pop(0)

    def expect_pong(self, payload):
        frame = self.receive()
        assert frame is not None and frame.opcode == Opcode.PONG and bytes(frame.payload) == payload, frame

    def expect_close(self, code, answers=True):
        """A close frame with this code, which is answered, then the end of TCP, which is the server's to begin (RFC 6455, 7.1.1).

        Returns the seconds between the two.
        """
        while (frame := self.receive()) is not None and frame.opcode != Opcode.CLOSE:
            assert frame.opcode in (Opcode.PING, Opcode.PONG), frame
        assert frame is not None, "the connection ended without a close frame"
        got, reason = frame.payload
        assert got == code, (got, reason)
        begun = time.monotonic()
        if answers:
            with contextlib.suppress(ConnectionError):
                self.socket.sendall(close(code))
        assert self.receive() is None
        return time.monotonic() - begun

    def expect_life(self):
        """A message operation `ping` is answered, so frames are still taken apart rightly; so is a ping of the protocol."""
        self.send(raw(1, message(operation="ping", number="life")))
        while (frame := self.receive()) is not None and frame.opcode != Opcode.TEXT:
            assert frame.opcode in (Opcode.PING, Opcode.PONG), frame
        assert frame is not None, "the connection ended"
        assert json.loads(frame.payload)["header"]["parent_msg_id"] == "m-life"
        probe = os.urandom(8)
        self.send(raw(9, probe))
        self.expect_pong(probe)

    def leave(self):
        self.send(close(1000))
        self.expect_close(1000, answers=False)
        self.socket.close()
