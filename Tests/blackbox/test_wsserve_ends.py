"""hub-wsserve: what comes with the end of a connection, in the same segment, is not lost. Raw frames, no WebSocket library."""

import json
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

BIN = Path(os.environ.get("HUB_BIN_DIR", Path(__file__).parents[2] / ".build" / "debug"))


def frame(opcode, payload):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload


def test_lines_before_a_close_frame_in_the_same_segment(tmp_path):
    port = tmp_path / "port"
    server = subprocess.Popen(
        [BIN / "hub-wsserve", "--insecure", "--listen", "127.0.0.1:0", "--print-port", port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not port.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        with socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=10) as edge:
            edge.sendall(
                b"GET /p/edge-0/events HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nNode_id: edge-0\r\nProject_id: p\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += edge.recv(4096)
            assert b" 101 " in answer and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
            data = b"".join(frame(1, b'{"header":{"msg_id":"%d"},"route":{"resource":"a/b"}}' % number) for number in range(20))
            edge.sendall(data + frame(8, struct.pack(">H", 1000)))
            assert edge.recv(4096)[:1] == b"\x88"
        lines = [json.loads(server.stdout.readline()) for _ in range(23)]
    finally:
        server.terminate()
        assert server.wait(timeout=10) == 0
    assert [line["hub"].get("event") for line in lines] == ["reset", "connected"] + [None] * 20 + ["disconnected"]
    assert [line["header"]["msg_id"] for line in lines[2:22]] == [str(number) for number in range(20)]
