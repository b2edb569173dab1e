"""hub-wsserve and SIGHUP: revocations and authorities that come and go, with sessions that live on and sessions that do not."""

import datetime
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from test_wsserve import PATIENCE, WSSERVE, Authority, close_code, event, frame, start, up, upgrade_request

__all__ = ["start"]  # fixture


class Edge:
    """A TLS connection of a node, as a blocking socket."""

    def __init__(self, server, pki, node, identity=None, session=None, version=None, upgrade=True):
        context = pki.client(identity or pki.node(node))
        if version:
            context.maximum_version = version
        self.node = node
        self.socket = context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.port), PATIENCE), server_hostname="127.0.0.1", session=session
        )
        self.context = context
        self.status = None
        if upgrade:
            self.upgrade()

    def upgrade(self):
        self.socket.sendall(upgrade_request(self.node))
        self.answer = b""
        while b"\r\n\r\n" not in self.answer:
            piece = self.socket.recv(1)
            assert piece, self.answer
            self.answer += piece
        self.status = int(self.answer.split()[1])
        if self.status != 101:
            self.answer += self.socket.recv(4096)
        return self

    def again(self, server):
        """A second connection that offers the TLS session of this one."""
        session = self.socket.session
        made = Edge.__new__(Edge)
        made.node, made.context = self.node, self.context
        made.socket = self.context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.port), PATIENCE), server_hostname="127.0.0.1", session=session
        )
        return made.upgrade()

    def lives(self):
        """It answers a ping."""
        self.socket.sendall(frame(b"x", opcode=9))
        head = self.socket.recv(3)
        return head == b"\x8a\x01x"

    def close(self):
        self.socket.close()


@pytest.fixture
def pki(tmp_path):
    directory = tmp_path / "pki"
    directory.mkdir()
    made = Authority(directory)
    made.issue("server", "hub", [], server=True)
    return made


def other_authority(pki, tmp_path):
    """A second authority, which the edges of the first know too; its name is another."""
    directory = tmp_path / "pki2"
    directory.mkdir()
    made = Authority.__new__(Authority)
    made.directory, made.key = directory, ec.generate_private_key(ec.SECP256R1())
    made.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub CA 2")])
    made.certificate = made.build(made.name, made.key.public_key(), is_authority=True)
    made.write("rootCA", made.certificate, None)
    made.path = pki.path
    return made


def hang_up(server, expected="event=reloaded"):
    before = sum("event=reload" in line for line in server.errors)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while sum("event=reload" in line for line in server.errors) == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    line = [line for line in server.errors if "event=reload" in line][-1]
    assert expected in line
    return line


def revoke(pki, *nodes, until=None, **more):
    lines = [json.dumps({"node": node, "until": until or int(time.time()), "ban": False, **more}) + "\n" for node in nodes]
    (pki.directory / "revoked.jsonl").write_text("".join(lines))


def no_more_lines(server):
    """What came until an answer to `who`, without it."""
    server.send(event("who", msg_id="last"))
    found = []
    while True:
        line = server.line()
        if line["hub"].get("event") == "live":
            return found
        if not line["hub"].get("again"):
            found.append(line)


def test_the_sessions_of_a_revoked_node_end_and_no_others(start, pki):
    server = start(authority=pki)
    edges = [Edge(server, pki, f"edge-{number}") for number in range(20)]
    sessions = {}
    for _ in edges:
        line = server.event("connected")
        sessions[line["hub"]["node"]] = line["hub"]["session"]
    edges[7].socket.sendall(frame(json.dumps(up()).encode()))
    assert server.line()["header"]["msg_id"] == "up-1"
    revoke(pki, "edge-7", "edge-99")
    assert "revocations=2" in hang_up(server)
    line = server.event("disconnected")
    assert line["hub"] == {"kind": "event", "node": "edge-7", "session": sessions["edge-7"], "event": "disconnected", "reason": "certificate revoked"}
    # What it still sends goes nowhere; the code says that it is a matter of policy.
    edges[7].socket.sendall(frame(json.dumps(up(2)).encode()))
    assert close_code(edges[7].socket) == 1008
    assert no_more_lines(server) == []
    assert all(edge.lives() for edge in edges if edge is not edges[7])
    back = Edge(server, pki, "edge-7")
    assert back.status == 403 and b"certificate revoked" in back.answer
    deadline = time.monotonic() + PATIENCE
    while not any('event=refused node=edge-7 reason="certificate revoked"' in line and "status=403" in line for line in server.errors):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert server.counters()["closed_revoked"] == 1 and server.counters()["refused_revoked"] == 1
    # A certificate that begins after the revocation is good, and so is every one once the node is allowed.
    revoke(pki, "edge-7", until=int(time.time()) - 2 * 86_400)
    hang_up(server)
    assert Edge(server, pki, "edge-7").status == 101
    server.stop()


def test_one_certificate_is_refused_by_its_serial_number(start, pki):
    server = start(authority=pki)
    pki.issue("first", "system:node:edge-0", ["system:nodes"])
    pki.issue("second", "system:node:edge-0", ["system:nodes"])
    serial = x509.load_pem_x509_certificate((pki.directory / "first.crt").read_bytes()).serial_number
    text = f"{serial:x}"
    revoke(pki, "edge-0", serial=text.zfill(len(text) + len(text) % 2))
    hang_up(server)
    assert Edge(server, pki, "edge-0", "first").status == 403
    assert Edge(server, pki, "edge-0", "second").status == 101
    server.stop()


def test_sessions_of_an_authority_that_goes_end_and_no_others(start, pki, tmp_path):
    second = other_authority(pki, tmp_path)
    (pki.directory / "rootCA.crt").write_bytes(pki.path.read_bytes() + (second.directory / "rootCA.crt").read_bytes())
    own = (second.directory / "rootCA.crt").read_bytes()
    server = start(authority=pki)
    old = [Edge(server, pki, f"edge-{number}") for number in range(90)]
    new = [Edge(server, second, f"edge-{number}") for number in range(100, 190)]
    for _ in old + new:
        server.event("connected")
    # Reloads that take nothing away end nothing; the one that does ends what it concerns.
    for _ in range(3):
        assert "authorities=2" in hang_up(server)
    assert no_more_lines(server) == []
    counted = server.counters()
    assert counted["sessions"] == 180
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = [line for line in server.errors if "event=sessions_by_issuer" in line]
        found = {name: sum(int(line.split("sessions=")[1]) for line in lines if name in line) for name in ("issuer=KubeEdge", 'issuer="hub CA 2"')}
        if list(found.values()) == [90, 90]:
            break
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)
    trusted = pki.path.read_bytes()
    pki.path.write_bytes(own)
    assert "authorities=1" in hang_up(server)
    ended = [server.event("disconnected")["hub"] for _ in old]
    assert {line["node"] for line in ended} == {edge.node for edge in old}
    assert {line["reason"] for line in ended} == {"authority no longer trusted"}
    assert no_more_lines(server) == []
    assert all(close_code(edge.socket) == 1008 for edge in old) and all(edge.lives() for edge in new)
    assert server.counters()["closed_untrusted"] == 90
    pki.path.write_bytes(trusted)  # what clients verify the server against
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        Edge(server, pki, "edge-0")
    assert Edge(server, second, "edge-101").status == 101
    server.stop()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_session_is_not_resumed_after_a_reload(start, pki, tmp_path, version):
    second = other_authority(pki, tmp_path)
    bundle = pki.path.read_bytes() + (second.directory / "rootCA.crt").read_bytes()
    pki.path.write_bytes(bundle)
    server = start(authority=pki)
    edge = Edge(server, pki, "edge-0", version=version)
    assert edge.lives()  # a TLS 1.3 ticket comes with the first data
    assert edge.again(server).socket.session_reused
    revoke(pki, "edge-0")
    hang_up(server)
    back = edge.again(server)
    assert not back.socket.session_reused and back.status == 403
    # And neither after the authority has gone.
    third = Edge(server, pki, "edge-1", version=version)
    assert third.lives()
    pki.path.write_bytes((second.directory / "rootCA.crt").read_bytes())
    hang_up(server)
    pki.path.write_bytes(bundle)
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        third.again(server)
    server.stop()


def test_a_handshake_from_before_a_reload_is_judged_by_what_holds_then(start, pki, tmp_path):
    second = other_authority(pki, tmp_path)
    pki.path.write_bytes(pki.path.read_bytes() + (second.directory / "rootCA.crt").read_bytes())
    server = start(authority=pki)
    revoked, untrusted, fine = (
        Edge(server, pki, "edge-0", upgrade=False), Edge(server, pki, "edge-1", upgrade=False), Edge(server, second, "edge-2", upgrade=False),
    )
    server.counter("accepted", 3)
    time.sleep(0.2)
    revoke(pki, "edge-0")
    pki.path.write_bytes((second.directory / "rootCA.crt").read_bytes())
    hang_up(server)
    assert revoked.upgrade().status == 403 and b"certificate revoked" in revoked.answer
    assert untrusted.upgrade().status == 403 and b"authority no longer trusted" in untrusted.answer
    assert fine.upgrade().status == 101
    server.stop()


def test_expiry_ends_a_session_only_where_that_is_asked_for(start, pki):
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:node:edge-0"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes")]))
        .issuer_name(pki.name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(seconds=3))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(pki.key, hashes.SHA256())
    )
    pki.write("short", certificate, key)
    servers = [start("--close-expired", authority=pki), start(authority=pki)]
    edges = [Edge(server, pki, "edge-0", "short") for server in servers]
    steady = Edge(servers[0], pki, "edge-1")
    assert [edge.status for edge in edges] == [101, 101]
    assert edges[1].lives()
    time.sleep(4.2)
    for server in servers:
        hang_up(server)
    assert servers[0].event("disconnected")["hub"]["reason"] == "certificate expired"
    assert steady.lives()
    assert edges[1].lives() and no_more_lines(servers[1])[-1]["hub"]["event"] == "connected"
    for server in servers:
        server.stop()


def test_a_resumed_session_does_not_outlive_its_certificate(start, pki):
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "system:node:edge-0"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(pki.name)
        .public_key(key.public_key())
        .serial_number(6)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(seconds=2))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(pki.key, hashes.SHA256())
    )
    pki.write("short", certificate, key)
    server = start(authority=pki)
    edge = Edge(server, pki, "edge-0", "short")
    assert edge.lives()
    time.sleep(3.2)
    back = edge.again(server)
    assert back.socket.session_reused and back.status == 403 and b"certificate expired" in back.answer
    server.stop()


def test_a_list_that_cannot_be_read_changes_nothing(start, pki, tmp_path):
    (pki.directory / "revoked.jsonl").write_text("nonsense\n")
    done = subprocess.run([WSSERVE, "--dir", pki.directory, "--listen", "127.0.0.1:0"], capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 78 and b"line 1 is no revocation" in done.stderr and len(done.stderr.splitlines()) == 1
    revoke(pki, "edge-9")
    server = start("--revoked", str(pki.directory / "revoked.jsonl"), authority=pki)
    edge = Edge(server, pki, "edge-0")
    (pki.directory / "revoked.jsonl").write_text('{"node":"edge-0"}\n')
    hang_up(server, "event=reload_failed")
    assert edge.lives() and Edge(server, pki, "edge-9").status == 403
    os.unlink(pki.directory / "revoked.jsonl")
    hang_up(server)
    assert edge.lives() and Edge(server, pki, "edge-9").status == 101
    server.stop()


def test_reloads_amid_connects_and_revocations_leave_nobody_behind(start, pki):
    """Nodes come and go while the list changes: at every moment a session of a revoked node ends, whatever its handshake was at."""
    server = start(authority=pki)
    names = [f"edge-{number}" for number in range(12)]
    for name in names:
        pki.node(name)
    ending = threading.Event()

    def play(name):
        while not ending.is_set():
            try:
                edge = Edge(server, pki, name)
                if edge.status == 101:
                    edge.socket.settimeout(0.2)
                    edge.socket.recv(1)
            except (OSError, AssertionError):
                pass

    threads = [threading.Thread(target=play, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        for turn in range(15):
            revoke(pki, *(names[:6] if turn % 2 == 0 else names[6:]))
            hang_up(server)
            # From the reload on, and after what its own closing takes, no session of a revoked node is live.
            revoked = set(names[:6] if turn % 2 == 0 else names[6:])
            time.sleep(0.1)
            server.send(event("who", msg_id=f"turn-{turn}"))
            live = set()
            while True:
                line = server.line()
                if line["hub"].get("event") == "live" and line["header"]["parent_msg_id"] == f"turn-{turn}":
                    break
                if line["hub"].get("again"):
                    live.add(line["hub"]["node"])
            assert not live & revoked, turn
    finally:
        ending.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert server.counters()["closed_revoked"] > 0 and server.counters()["refused_revoked"] > 0
    server.stop()
