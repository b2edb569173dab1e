"""Who is let in first: one address that floods keeps nobody else out, and everything that a peer can make grow has an end."""

import contextlib
import json
import os
import resource
import socket
import time

import pytest
from certs_kit import Server as CertsServer, prepare
from conftest import wait_until
from wsserve_kit import PATIENCE, authority, frame, start, up, upgrade_request

__all__ = ["authority", "start"]  # fixtures


def silent(port, count, source="127.0.0.1"):
    return [socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(source, 0)) for _ in range(count)]


def close(connections):
    for connection in connections:
        connection.close()


def seconds_to_upgrade(server, node, source, identity=None):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE, source_address=(source, 0)) as plain:
        context = server.authority.client(server.authority.node(node)) if server.authority else None
        with context.wrap_socket(plain, server_hostname="127.0.0.1") if context else contextlib.nullcontext(plain) as connection:
            connection.sendall(upgrade_request(node))
            assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
    return time.monotonic() - begun


def succeeds(what, *arguments):
    """Not yet, as long as the hub has not noticed that those that wait have gone."""
    try:
        return what(*arguments)
    except ConnectionError:
        return None


def is_open(connection):
    connection.settimeout(0.01)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_an_honest_node_connects_at_once_while_another_address_floods(start, authority):
    """With the defaults, of which 300 silent connections once took every place for ten seconds."""
    server = start(authority=authority)
    flood = silent(server.port, 600)
    assert all(seconds_to_upgrade(server, f"edge-{number}", "127.0.0.2") < 1 for number in range(5))
    assert seconds_to_upgrade(server, "edge-5", "127.0.0.3") < 1
    assert all(is_open(connection) for connection in flood[-20:]), "they wait, nobody is sent away"
    close(flood)
    assert seconds_to_upgrade(server, "edge-6", "127.0.0.1") < 2
    server.stop()


def test_those_of_one_address_are_served_one_after_the_other(start):
    """As many nodes behind one address do it when their link comes back: more than places, and nobody is refused."""
    server = start("--max-handshakes-per-address", "2")
    links = silent(server.port, 100)
    for number, link in enumerate(links):
        link.sendall(upgrade_request(f"edge-{number}"))
    for link in links:
        link.settimeout(PATIENCE)
        assert link.recv(12) == b"HTTP/1.1 101"
    close(links)
    assert server.counter("connected", 100) == 100
    counters = server.counters()
    assert counters["refused_waiting"] == 0 and counters["handshake_timeout"] == 0
    server.stop()


def test_a_herd_behind_one_address_waits_and_nobody_is_sent_away(start):
    """After a restart of the stage all nodes come at once. With room for 4,096 of them, 840 of 5,000 were refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    server = start("--handshake-timeout", "60")
    herd = silent(server.port, 4300)
    assert server.counter("accepted", 4300) == 4300
    assert server.counters()["refused_waiting"] == 0
    close(herd)
    server.stop()


def test_too_many_that_wait_cost_the_flooder_its_own(start):
    server = start("--max-handshakes", "4", "--max-handshakes-per-address", "2", "--max-waiting", "10", "--handshake-timeout", "30")
    flood = silent(server.port, 40)
    assert server.counter("refused_waiting", 28) == 28
    assert [is_open(connection) for connection in flood].count(True) == 12
    others = silent(server.port, 3, "127.0.0.2")  # two are served, one waits, for which one of the flood has to go
    assert server.counter("refused_waiting", 29) == 29
    assert all(is_open(connection) for connection in others)
    line = wait_until(lambda: next((line for line in server.errors if "event=refused" in line), None))
    assert 'reason="too many connections of this address wait"' in line and "remote=127.0.0.1:" in line
    close(flood + others)
    wait_until(lambda: succeeds(seconds_to_upgrade, server, "edge-0", "127.0.0.1"), 2, "the flooder's own turn")
    server.stop()


def test_all_connections_have_a_bound(start):
    server = start("--max-connections", "8", "--max-handshakes-per-address", "2")
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(server.raw(f"edge-{number}")) for number in range(5)]
        flood = silent(server.port, 10)
        assert server.counter("refused_connections", 7) == 7
        assert all(is_open(node) for node in nodes)
        close(flood)
        server.counter("open_connections", 5)
        stack.enter_context(server.raw("edge-9"))
    server.stop()


def test_sigterm_ends_those_that_wait(start):
    server = start("--max-handshakes-per-address", "1")
    flood = silent(server.port, 20)
    assert server.counter("accepted", 20) == 20
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 3
    assert not any(is_open(connection) for connection in flood)


def test_a_full_output_lets_nobody_begin_and_forgets_nobody(start):
    """The listening side follows the pause of the sockets."""
    reading, writing = os.pipe()
    server = start("--max-output", "64KiB", stdout=writing)
    os.close(writing)
    with server.raw("edge-0") as edge:
        edge.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while True:
                edge.sendall(frame(json.dumps(up(content="x" * 30_000)).encode()))
        late = silent(server.port, 5)
        for number, link in enumerate(late):
            link.sendall(upgrade_request(f"late-{number}"))
        time.sleep(0.3)
        assert server.counters()["connected"] == 1
        with open(reading, "rb", buffering=0) as output:
            data = b""
            while data.count(b'"event":"connected"') < 6:
                data += output.read(1 << 20)
            close(late)
            server.process.terminate()
            while output.read(1 << 20):
                pass
    server.stop(signalled=True)


# hub-certs


@pytest.fixture
def certs(tmp_path):
    prepare(tmp_path / "hub", "--advertise", "127.0.0.1")
    servers = []

    def begin(*options):
        servers.append(CertsServer(tmp_path / "hub", *options))
        return servers[-1]

    yield begin
    for server in servers:
        assert server.process.stop() == 0


def fetch(server, source):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE, source_address=(source, 0)) as plain:
        with server.tls().wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /ca.crt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    return time.monotonic() - begun


def test_one_address_does_not_fill_the_https_port(certs):
    server = certs()
    flood = silent(server.port, 1300)
    assert all(fetch(server, "127.0.0.2") < 1 for _ in range(3))
    close(flood)
    assert fetch(server, "127.0.0.1") < 2


def test_clients_of_one_address_wait_for_each_other(certs):
    server = certs("--max-connections-per-address", "1", "--max-waiting", "2", "--request-timeout", "1")
    flood = silent(server.port, 6)
    wait_until(lambda: server.counters()["refused_connections"] == "3")
    assert [is_open(connection) for connection in flood].count(True) == 3
    assert fetch(server, "127.0.0.2") < 1
    close(flood)
    wait_until(lambda: succeeds(fetch, server, "127.0.0.1"), 4, "the flooder's own turn")


# What a connected node can make grow


def test_refused_frames_write_a_bounded_log_and_a_bounded_file(start, tmp_path):
    rejects = tmp_path / "rejects"
    server = start("--rejects", str(rejects), "--max-rejects", "1KiB")
    with server.raw() as edge, server.raw("edge-1") as other:
        begun = time.monotonic()
        for number in range(3000):
            edge.sendall(frame(b'{"x":"%0100d"}' % number))
        other.sendall(frame(b'{"from":"the other"}'))
        assert server.counter("refused_frame", 3001) == 3001
        elapsed = time.monotonic() - begun
        lines = [line for line in server.errors if "event=reject" in line]
        assert 1 <= len(lines) - 1 <= 20 * (elapsed + 2), "20 a second of one node"
        assert sum("input=edge-1" in line for line in lines) == 1, "which leaves room for another"
        assert server.counters()["rejects_not_kept"] >= 2900
    server.stop()
    assert 0 < rejects.stat().st_size <= 1024 + 20


def test_refused_frames_can_be_logged_again_a_second_later(start):
    server = start()
    with server.raw() as edge:
        for _ in range(2):
            edge.sendall(frame(b"{}") * 100)
            time.sleep(1.2)
        assert server.counter("refused_frame", 200) == 200
        lines = [line for line in server.errors if "event=reject" in line]
        assert 40 <= len(lines) <= 60
    server.stop()


@pytest.mark.parametrize("opcode", [9, 10, 0], ids=["pings", "pongs", "empty fragments"])
def test_many_small_frames_take_no_memory(start, opcode):
    server = start("--ping", "0")

    def memory():
        with open(f"/proc/{server.process.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    with server.raw() as edge:
        text = json.dumps(up(number=opcode)).encode()
        if opcode == 0:
            edge.sendall(frame(text[:9], fin=False))
        before = memory()
        for _ in range(100):
            edge.sendall(frame(b"", opcode=opcode, fin=opcode != 0) * 2000)
        assert memory() - before < 8 << 20
        if opcode == 0:
            edge.sendall(frame(text[9:], opcode=0))
        else:
            edge.sendall(frame(text))
        while server.line()["hub"]["kind"] != "up":
            pass
    server.stop()
