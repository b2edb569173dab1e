"""TLS of both listening programs, seen by sslscan, openssl and Python's ssl: what is spoken, who is let in, and what is resumed."""

import contextlib
import datetime
import shutil
import signal
import socket
import ssl
import subprocess
import time
import xml.etree.ElementTree as xml

import pytest
from certs_kit import Server as CertsServer, prepare
from conftest import wait_until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from wsserve_kit import PATIENCE, Authority, Server, authority, start, upgrade_request

__all__ = ["authority", "start"]  # fixtures

NODES = "system:nodes"
DAY = datetime.timedelta(days=1)


# What is spoken


def scan(port, *options):
    """sslscan's report on a port."""
    done = subprocess.run(
        ["sslscan", "--xml=-", "--show-sigs", *map(str, options), f"127.0.0.1:{port}"], capture_output=True, timeout=60, check=True
    )
    return xml.fromstring(done.stdout).find("ssltest")


def check_scan(report, key_kind):
    enabled = {f"{each.get('type')} {each.get('version')}" for each in report.iter("protocol") if each.get("enabled") == "1"}
    assert enabled == {"tls 1.2", "tls 1.3"}
    ciphers = {(each.get("sslversion"), each.get("cipher")) for each in report.iter("cipher")}
    assert ciphers == {
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"), ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        ("TLSv1.2", f"ECDHE-{key_kind}-AES128-GCM-SHA256"), ("TLSv1.2", f"ECDHE-{key_kind}-AES256-GCM-SHA384"),
        ("TLSv1.2", f"ECDHE-{key_kind}-CHACHA20-POLY1305"),
    }  # fmt: skip
    assert report.find("renegotiation").get("supported") == "0"
    assert all(each.get("vulnerable") == "0" for each in report.iter("heartbleed"))
    signatures = {each.get("name") for each in report.iter("connection-signature-algorithm")}
    assert signatures and not any("sha1" in name or "sha224" in name or "dsa_" in name.replace("ecdsa_", "") for name in signatures)
    groups = {each.get("name").split(" ")[0] for each in report.iter("group")}
    assert groups <= {"x25519", "secp256r1", "secp384r1", "secp521r1"} and groups


def server_with_key(directory, kind):
    """An authority whose server certificate has a key of this kind, as a CloudCore may have left it."""
    made = Authority(directory)
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    made.write("server", made.build(subject, key.public_key(), server=True), key)
    return made


@pytest.mark.skipif(shutil.which("sslscan") is None, reason="no sslscan")
@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
def test_sslscan_of_wsserve(start, tmp_path, kind):
    made = server_with_key(tmp_path, kind)
    server = start(authority=made)
    node = made.node("edge-0")
    check_scan(scan(server.port, f"--certs={tmp_path}/{node}.crt", f"--pk={tmp_path}/{node}.key"), kind)
    server.stop()


@pytest.mark.skipif(shutil.which("sslscan") is None, reason="no sslscan")
def test_sslscan_of_certs(tmp_path):
    prepare(tmp_path / "hub", "--advertise", "127.0.0.1")
    server = CertsServer(tmp_path / "hub")
    try:
        check_scan(scan(server.port), "ECDSA")
    finally:
        server.process.stop()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_no_ticket_carries_state_and_renegotiation_is_refused(start, authority, version):
    server = start(authority=authority)
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.path, "-cert",
         authority.directory / f"{authority.node('edge-0')}.crt", "-key", authority.directory / "edge-0.key",
         "-tls1_2" if version == "TLSv1_2" else "-tls1_3"],
        input=b"R\n" if version == "TLSv1_2" else b"", capture_output=True, timeout=30,
    )  # fmt: skip
    text = done.stdout.decode() + done.stderr.decode()
    assert "Compression: NONE" in text and "Verify return code: 0 (ok)" in text
    if version == "TLSv1_2":
        assert "no renegotiation" in text
        assert "TLS session ticket:" not in text
    else:
        # A session id of 32 bytes in the place of an encrypted state.
        assert "TLS session ticket:" not in text or len([line for line in text.splitlines() if line.startswith("    00")]) <= 3
    server.stop()


def test_a_client_that_speaks_only_what_is_weak_is_refused(start, authority):
    server = start(authority=authority)
    for ciphers in ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-CCM8"]:
        client = authority.client(authority.node("edge-0"))
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(ciphers)
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
            client.wrap_socket(plain, server_hostname="127.0.0.1")
    assert server.counter("handshake_failed", 5) == 5
    server.stop()


# Client certificates


class Issuer:
    """Makes certificates that `Authority` does not: other times, other usages, an intermediate in between."""

    def __init__(self, authority):
        self.authority = authority

    def make(self, name, common_names=("system:node:edge-0",), usage=ExtendedKeyUsageOID.CLIENT_AUTH, start=-DAY, end=DAY, issuer=None,
             is_authority=False, path_length=None):  # fmt: skip
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        issuer_name, issuer_key = issuer or (self.authority.name, self.authority.key)
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODES)] + [x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names]
        )
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now + start).not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(is_authority, path_length), True)
        )  # fmt: skip
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        self.authority.write(name, certificate, key)
        return subject, key, certificate

    def chain(self, name, length, node="edge-0", leaf_of_leaf=False):
        """A node's certificate below so many intermediates, with the chain in its file."""
        issuer, chain = None, []
        for depth in range(length):
            subject, key, certificate = self.make(
                f"{name}-{depth}", [f"Intermediate {depth}"], usage=None, issuer=issuer, is_authority=not leaf_of_leaf)
            issuer = (subject, key)
            chain.insert(0, certificate)
        self.make(name, [f"system:node:{node}"], issuer=issuer)
        path = self.authority.directory / f"{name}.crt"
        path.write_bytes(path.read_bytes() + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))


def upgrade(server, made, identity, node="edge-0", version=None, session=None, context=None):
    """The first line of the hub's answer to an upgrade, or the alert; and the TLS session."""
    client = context or made.client(identity)
    if version:
        client.minimum_version = client.maximum_version = version
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        try:
            with client.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure:
                secure.sendall(upgrade_request(node))
                answer = secure.recv(4096)
                if not answer:
                    return "closed", None, False
                return answer.split(b"\r\n")[0].decode(), secure.session, secure.session_reused
        except (ssl.SSLError, ConnectionError) as error:
            return str(error), None, False


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """One server for all certificates."""
    directory = tmp_path_factory.mktemp("tls")
    made = Authority(directory)
    made.issue("server", "hub", [], server=True)
    running = Server(tmp_path_factory.mktemp("port"), authority=made)
    yield running, made
    try:
        running.stop()
    finally:
        running.kill()


def foreign(made, directory):
    other = Authority(directory)
    for part in ("crt", "key"):
        shutil.copy(directory / f"{other.node('edge-0')}.{part}", made.directory / f"bad.{part}")


HANDSHAKE, REFUSED = "handshake_failed", "refused"
REFUSALS = {
    "another authority": (
        lambda made, _: Issuer(made).make("bad", issuer=(x509.Name([]), ec.generate_private_key(ec.SECP256R1()))), HANDSHAKE,
        "unable to get local issuer certificate"),
    "another authority of the same name": (foreign, HANDSHAKE, "certificate signature failure"),
    "expired": (lambda made, _: Issuer(made).make("bad", start=-3 * DAY, end=-DAY), HANDSHAKE, "certificate has expired"),
    "not yet valid": (lambda made, _: Issuer(made).make("bad", start=DAY, end=3 * DAY), HANDSHAKE, "certificate is not yet valid"),
    "server usage only": (lambda made, _: Issuer(made).make("bad", usage=ExtendedKeyUsageOID.SERVER_AUTH), HANDSHAKE, "purpose"),
    "below a leaf": (lambda made, _: Issuer(made).chain("bad", 1, leaf_of_leaf=True), HANDSHAKE, "invalid CA certificate"),
    "a chain too long": (lambda made, _: Issuer(made).chain("bad", 4), HANDSHAKE, "chain too long"),
    "another node": (lambda made, _: Issuer(made).make("bad", ["system:node:edge-1"]), REFUSED, "the certificate is another node's"),
    "several names": (
        lambda made, _: Issuer(made).make("bad", ["system:node:edge-0", "system:node:edge-1"]), REFUSED, "the certificate is not a node's"),
    "the same name twice": (lambda made, _: Issuer(made).make("bad", ["system:node:edge-0"] * 2), REFUSED, "the certificate is not a node's"),
    "a NUL in the name": (lambda made, _: Issuer(made).make("bad", ["system:node:edge-0\0.x"]), REFUSED, "the certificate is another node's"),
    "old shared certificate": (lambda made, _: made.issue("bad", "kubeedge.io", ["KubeEdge"]), REFUSED, "the certificate is not a node's"),
    "the server's own": (
        lambda made, _: [shutil.copy(made.directory / f"server.{part}", made.directory / f"bad.{part}") for part in ("crt", "key")],
        HANDSHAKE, "purpose"),
    "the authority's own": (lambda made, _: made.write("bad", made.certificate, made.key), REFUSED, "the certificate is not a node's"),
    "none": (None, HANDSHAKE, "peer did not return a certificate"),
}  # fmt: skip


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_certificate_is_refused_and_the_log_says_why(tls, tmp_path, name, version):
    server, made = tls
    prepare_it, event, reason = REFUSALS[name]
    if prepare_it:
        prepare_it(made, tmp_path)
    before = len(server.errors)
    answer = upgrade(server, made, "bad" if prepare_it else None, version=version)[0]
    assert "403" in answer if event == REFUSED else "HTTP" not in answer, answer
    line = wait_until(lambda: next((line for line in server.errors[before:] if f"event={event} " in line and reason in line), None), what=reason)
    assert line.startswith("level=warn ") and " remote=127.0.0.1:" in line


@pytest.mark.parametrize("length", [1, 3])
def test_an_authority_may_sign_through_an_intermediate_that_the_node_sends(tls, length):
    """As in Go's verification, which CloudHub uses; three at most."""
    server, made = tls
    Issuer(made).chain("chained", length)
    assert "101" in upgrade(server, made, "chained")[0]


def test_a_flood_of_bad_certificates_writes_a_bounded_log(tls, tmp_path):
    server, made = tls
    Issuer(made).make("bad", start=-3 * DAY, end=-DAY)
    client = made.client("bad")
    before, counted, began = len(server.errors), server.counters(), time.monotonic()
    for _ in range(150):
        upgrade(server, made, None, context=client)
    wait_until(lambda: server.counters()["handshake_failed"] - counted["handshake_failed"] >= 150)
    lines = [line for line in server.errors[before:] if "handshake_failed" in line and "event=counters" not in line]
    missing = server.counters()["not_logged"] - counted["not_logged"]
    assert len(lines) + missing == 150 and len(lines) <= 50 * (time.monotonic() - began + 1)


# Resumption


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@VERSIONS
def test_a_session_carries_its_own_node_and_no_other(tls, version):
    server, made = tls
    context = made.client(made.node("edge-a"))
    answer, session, _ = upgrade(server, made, None, "edge-a", version, context=context)
    assert "101" in answer
    answer, again, is_resumed = upgrade(server, made, None, "edge-a", version, session, context)
    assert "101" in answer and is_resumed
    # The same session says that it is another node.
    answer, _, is_resumed = upgrade(server, made, None, "edge-b", version, again or session, context)
    assert "403" in answer and is_resumed
    # The certificate of another node, beside the session: the session says who it is, and that certificate is never seen.
    _, session, _ = upgrade(server, made, None, "edge-a", version, context=context)
    context.load_cert_chain(made.directory / f"{made.node('edge-b')}.crt", made.directory / "edge-b.key")
    answer, _, is_resumed = upgrade(server, made, None, "edge-b", version, session, context)
    assert "403" in answer if is_resumed else "101" in answer


@VERSIONS
def test_openssl_resumes_from_a_file_and_the_identity_stays(tls, tmp_path, version):
    server, made = tls
    flag = "-tls1_2" if version == ssl.TLSVersion.TLSv1_2 else "-tls1_3"

    def play(node, *options):
        identity = made.node(node)
        command = [
            "openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{server.port}", "-CAfile", made.path, flag, "-cert",
            made.directory / f"{identity}.crt", "-key", made.directory / f"{identity}.key", *options,
        ]  # fmt: skip
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            client.stdin.write(upgrade_request(node))
            client.stdin.flush()
            return client.stdout.readline().decode()
        finally:
            client.terminate()
            client.wait(PATIENCE)
            client.stdin.close()
            client.stdout.close()

    resumed = server.counters()["tls_resumed"]
    assert "101" in play("edge-x", "-sess_out", tmp_path / "session")
    assert "101" in play("edge-x", "-sess_in", tmp_path / "session", "-sess_out", tmp_path / "second")
    assert server.counters()["tls_resumed"] == resumed + 1
    # edge-y shows its own certificate and resumes the session of edge-x: it is edge-x, so it is not let in as edge-y.
    source = tmp_path / "second" if (tmp_path / "second").exists() else tmp_path / "session"
    assert "403" in play("edge-y", "-sess_in", source)
    assert server.counters()["tls_resumed"] == resumed + 2


@VERSIONS
def test_a_new_authority_resumes_nothing_that_the_old_one_verified(tmp_path, version):
    directory = tmp_path / "pki"
    directory.mkdir()
    old = Authority(directory)
    old.issue("server", "hub", [], server=True)
    server = Server(tmp_path, authority=old)
    with contextlib.ExitStack() as stack:
        stack.callback(server.process.wait)
        stack.callback(server.process.kill)
        context = old.client(old.node("edge-0"))
        answer, session, _ = upgrade(server, old, None, version=version, context=context)
        assert "101" in answer
        # Same files, another authority: the node's certificate is worth nothing any more.
        new = Authority(directory)
        new.issue("server", "hub", [], server=True)
        context.load_verify_locations(new.path)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("event=reloaded" in line for line in server.errors))
        answer, _, is_resumed = upgrade(server, old, None, version=version, session=session, context=context)
        assert "HTTP" not in answer and not is_resumed
        wait_until(lambda: any("event=handshake_failed" in line for line in server.errors))
        (directory / "edge-0.crt").unlink()
        assert "101" in upgrade(server, new, new.node("edge-0"), version=version)[0]
        server.stop()
