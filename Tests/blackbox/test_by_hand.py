"""hub-wsserve --insecure talked to by hand, with websocat."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import Process, line, program, wait_until

pytestmark = pytest.mark.skipif(shutil.which("websocat") is None, reason="websocat is not there")


def test_websocat_exchanges_lines(tmp_path):
    port = tmp_path / "port"
    server = Process([program("hub-wsserve"), "--insecure", "--listen", "127.0.0.1:0", "--print-port", str(port)])
    try:
        wait_until(lambda: port.exists() and port.read_text(), what="the port")
        client = Process(
            ["websocat", "--text", "-H=node_id: edge-7", "-H=project_id: p", f"ws://127.0.0.1:{port.read_text().strip()}/p/edge-7/events"])
        try:
            connected = server.wait_message(lambda message: message["hub"].get("event") == "connected")
            assert connected["hub"]["node"] == "edge-7"
            # A plain line, as a person would type it.
            server.write(line({"msg_id": "1"}, {"source": "me", "group": "user", "resource": "node/edge-7/hello"}, "hi"))
            answer = client.wait_message(lambda message: True)
            assert (answer["route"]["resource"], answer["content"]) == ("hello", "hi")
            client.write(line({"msg_id": "2"}, {"source": "edged", "operation": "update", "resource": "x"}, "ho"))
            up = server.wait_message(lambda message: message["hub"]["kind"] == "up")
            assert (up["hub"]["node"], up["content"]) == ("edge-7", "ho")
            client.write(line({"msg_id": "3"}, {"operation": "ping"}, ""))
            assert client.wait_message(lambda message: message["header"].get("parent_msg_id") == "3")["content"] == "ack"
        finally:
            client.kill()
        server.wait_message(lambda message: message["hub"].get("event") == "disconnected")
        assert server.stop() == 0
    finally:
        server.kill()


def test_insecure_is_for_loopback_only(tmp_path):
    done = subprocess.run(
        [program("hub-wsserve"), "--insecure", "--listen", "0.0.0.0:0"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, env=dict(os.environ))
    assert done.returncode == 64
    assert b"loopback" in done.stderr
