"""hub-certs serve as a black box: task reports, bounds, hostile clients and signals."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from certs_kit import (
    CERTS, Server, csr, home, name, prepare, server, start,
)  # fixtures among them
from conftest import run, wait_until
from cryptography import x509

__all__ = ["home", "server", "start"]  # fixtures


# serve: reports


def test_a_report_is_a_line_for_taskmanager(server, tmp_path):
    pair = server.join(tmp_path)
    report = {"NodeName": "edge-0", "Event": "Upgrade", "Action": "Failure", "Time": "2026-01-01T00:00:00Z", "Reason": 'a "b"\nc'}
    path = "/task/upgrade/name/job-1/node/edge-0/status"
    status, _, body = server.request("POST", path, json.dumps(report, indent=1).encode(), pair=pair)
    assert (status, body) == (200, b"ok")
    old = {"UpgradeID": "job-2", "NodeName": "edge-0", "Status": "upgrade_failed_rollback_success", "Reason": "r"}
    assert server.request("POST", "/nodeupgrade", json.dumps(old), pair=pair)[0] == 200
    server.process.wait_lines(lambda lines: len(lines) == 2)
    first, second = server.process.messages()
    assert first["route"] == {
        "source": "cloudhub", "destination": "taskmanager", "group": "cloudhub", "operation": "upgrade",
        "resource": "task/job-1/node/edge-0",
    }  # fmt: skip
    assert first["content"] == {"State": "", "ExternalMessage": "", **report}
    assert abs(first["header"]["timestamp"] / 1000 - time.time()) < 60 and len(first["header"]["msg_id"]) == 36
    assert second["route"]["resource"] == "task/job-2/node/edge-0"
    assert (second["content"]["Event"], second["content"]["Action"]) == ("Rollback", "Failure")


def test_reports_need_the_certificate_of_their_node(server, tmp_path):
    path = "/task/upgrade/name/job-1/node/{}/status"
    bearer = {"Authorization": f"Bearer {server.bearer}"}
    pair = server.join(tmp_path)
    assert server.request("POST", path.format("edge-0"), b"{}")[0] == 401
    assert server.request("POST", path.format("edge-0"), b"{}", bearer)[0] == 401
    assert server.request("POST", "/nodeupgrade", b'{"UpgradeID":"u","NodeName":"edge-0"}', bearer)[0] == 401
    assert server.request("POST", path.format("edge-1"), b"{}", pair=pair)[0] == 403
    assert server.request("POST", path.format("edge-0"), b'{"NodeName":"edge-1"}', pair=pair)[0] == 403
    assert server.request("POST", "/nodeupgrade", b'{"UpgradeID":"u","NodeName":"edge-1"}', pair=pair)[0] == 403
    assert server.request("POST", path.format("edge-0"), b"[]", pair=pair)[0] == 400
    assert server.process.lines == []


def test_a_stalled_reader_of_the_output_stops_reports_and_nothing_else(start, home, tmp_path):
    os.mkfifo(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    port_file = tmp_path / "port"
    with open(tmp_path / "out", "wb") as output:
        process = subprocess.Popen(
            [CERTS, "serve", "--dir", home, "--listen", "127.0.0.1:0", "--print-port", port_file, "--max-unsent", "64KiB",
             "--request-timeout", "1"],
            stdout=output, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        wait_until(port_file.exists, what="the port")
        server = Server.__new__(Server)
        server.directory, server.port = home, int(port_file.read_text())
        pair = server.join(tmp_path)
        report = json.dumps({"Reason": "x" * 60_000}).encode()
        statuses = [server.request("POST", "/task/t/name/i/node/edge-0/status", report, pair=pair)[0] for _ in range(4)]
        assert statuses[0] == 200 and statuses[-1] == 503
        assert server.enroll(csr())[0] == 200
        os.set_blocking(reader, True)
        received = b""
        while received.count(b"\n") < statuses.count(200):
            received += os.read(reader, 1 << 16)
        wait_until(lambda: server.request("POST", "/task/t/name/i/node/edge-0/status", b"{}", pair=pair)[0] == 200)
    finally:
        process.terminate()
        # What is written must be read before the end.
        drain = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")])
        drain.start()
        status = process.wait(20)
        drain.join(20)
        os.close(reader)
    assert status == 0


# serve: bounds


def test_large_bodies_are_413_before_they_are_read(server):
    for options in (["-H", "Expect:"], [], ["-H", "Expect:", "-H", "Transfer-Encoding: chunked"]):
        arguments = [
            "curl", "-sS", "--cacert", server.directory / "rootCA.crt", "-w", "%{http_code}", "-o", os.devnull, "-X", "GET",
            "-H", "NodeName: edge-0", "-H", f"Authorization: Bearer {server.bearer}", *options, "--data-binary", "@-",
            f"https://127.0.0.1:{server.port}/edge.crt",
        ]  # fmt: skip
        assert run(arguments, b"x" * ((1 << 20) + 1)).stdout == b"413"
    assert server.enroll(b"x" * (1 << 20))[0] == 400
    assert server.counters()["too_large"] == "3"


def test_slow_and_silent_clients_are_cut_off(start):
    server = start("--request-timeout", "1")
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
        with server.tls().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20), server_hostname="127.0.0.1") as slow:
            slow.sendall(
                f"GET /edge.crt HTTP/1.1\r\nHost: x\r\nNodeName: a\r\nAuthorization: Bearer {server.bearer}\r\nContent-Length: 10\r\n\r\n1".encode()
            )
            assert b" 408 " in slow.recv(4096)
        assert silent.recv(1) == b""
    assert time.monotonic() - began < 10
    assert server.counters()["timeouts"] == "2"


def test_a_large_header_is_refused(server):
    status, _, _ = server.request("GET", "/ca.crt", headers={"X": "y" * 20_000})
    assert status == 400


def test_connections_are_bounded(start):
    server = start("--max-connections", "5", "--max-waiting", "0")
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(5)]
    wait_until(lambda: server.counters()["open"] == "5")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as extra:
        assert extra.recv(1) == b""
    for connection in held:
        connection.close()
    wait_until(lambda: server.counters()["open"] == "0")
    assert server.request("GET", "/ca.crt")[0] == 200
    assert server.counters()["refused_connections"] == "1"


def test_one_node_gets_so_many_certificates_a_minute(start):
    server = start("--node-rate", "2", "--max-nodes", "2")
    assert [server.enroll(csr())[0] for _ in range(3)] == [200, 200, 429]
    assert server.enroll(csr("edge-1"), "edge-1")[0] == 200
    assert server.enroll(csr("edge-2"), "edge-2")[0] == 503


def test_fifty_edges_join_at_once(server):
    results = []

    def join(number):
        results.append(server.enroll(csr(f"edge-{number}"), f"edge-{number}")[0])

    threads = [threading.Thread(target=join, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [200] * 50
    assert len({record["serial"] for record in server.issued()}) == 50


def test_junk_on_the_socket_harms_nobody(server):
    for junk in (b"GET /ca.crt HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + os.urandom(5000), os.urandom(10_000)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    for junk in (b"\0\0\0\0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /nodeupgrade HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with server.tls().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20), server_hostname="127.0.0.1") as tls:
            tls.sendall(junk)
            assert b"HTTP/1.1 400" in tls.recv(4096)
    assert server.request("GET", "/ca.crt")[0] == 200


# serve: signals


def test_sighup_takes_new_certificates_and_keeps_the_old_ones_if_they_fail(server, home):
    def serial():
        with server.tls().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20), server_hostname="127.0.0.1") as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(True)).serial_number

    before = serial()
    prepare(home, "--advertise", "127.0.0.1", "--dns", "other.example.com")
    assert serial() == before
    server.process.process.send_signal(signal.SIGHUP)
    server.process.wait_errors(b"event=reloaded")
    after = serial()
    assert after != before
    good = (home / "server.crt").read_bytes()
    (home / "server.crt").write_text("junk")
    server.process.process.send_signal(signal.SIGHUP)
    server.process.wait_errors(b"event=reload_failed")
    assert serial() == after
    (home / "server.crt").write_bytes(good)


def test_sigterm_lets_a_request_end_and_closes_idle_connections(server):
    idle = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls(), timeout=20)
    idle.request("GET", "/ca.crt")
    assert idle.getresponse().read()
    body = csr()
    busy = server.tls().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20), server_hostname="127.0.0.1")
    busy.sendall(
        f"GET /edge.crt HTTP/1.1\r\nHost: x\r\nNodeName: edge-0\r\nAuthorization: Bearer {server.bearer}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    busy.sendall(body[:100])
    wait_until(lambda: server.counters()["requests"] == "2")
    server.process.process.send_signal(signal.SIGTERM)
    assert idle.sock.recv(1) == b""
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=20).close()
    assert server.process.process.poll() is None
    busy.sendall(body[100:])
    answer = b""
    while part := busy.recv(4096):
        answer += part
    assert answer.startswith(b"HTTP/1.1 200 ") and b"close" in answer.lower()
    assert server.process.process.wait(20) == 0
    idle.close()
    busy.close()


def test_serve_renews_an_old_token_at_its_start(home, start):
    (home / "token").write_text("old\n")
    server = start()
    assert server.enroll(csr())[0] == 200


def test_without_the_record_there_is_no_certificate(server, home):
    (home / "issued.jsonl").mkdir()
    assert server.enroll(csr())[0] == 503
    (home / "issued.jsonl").rmdir()
    assert server.enroll(csr())[0] == 200
    assert len(server.issued()) == 1
    assert server.counters()["failed_writes"] == "1"


def test_secrets_are_not_logged(server, home):
    server.enroll(csr(), bearer="secret-bearer.x.y")
    server.enroll(csr())
    server.process.stop()
    text = b"".join(server.process.errors)
    assert b"secret-bearer" not in text and server.bearer.encode() not in text and b"PRIVATE" not in text


def test_a_gone_reader_of_the_output_ends_the_server_with_74(home, tmp_path):
    port_file = tmp_path / "port"
    process = subprocess.Popen(
        [CERTS, "serve", "--dir", home, "--listen", "127.0.0.1:0", "--print-port", port_file], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_until(port_file.exists, what="the port")
        server = Server.__new__(Server)
        server.directory, server.port = home, int(port_file.read_text())
        pair = server.join(tmp_path)
        process.stdout.close()
        try:
            assert server.request("POST", "/task/t/name/i/node/edge-0/status", b"{}", pair=pair)[0] == 503
        except (OSError, http.client.HTTPException):
            pass  # The process may end before it answers.
        assert process.wait(20) == 74
        assert b"has gone" in process.stderr.read()
    finally:
        process.kill()
        process.wait(20)
        process.stderr.close()
