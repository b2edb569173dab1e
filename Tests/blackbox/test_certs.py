"""hub-certs as a black box: prepare, token, and the certificates that serve signs, judged by curl, openssl and Python's cryptography."""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path

import pytest
from certs_kit import (
    CERTS, NODE_NAMES, Server, csr, forge, home, name, new_key, openssl, pem_body, prepare, save_pair, server, start,
    unbase64,
)  # fixtures among them
from conftest import run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

__all__ = ["home", "server", "start"]  # fixtures


# prepare


def test_prepare_makes_what_openssl_accepts(home):
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for secret in ("rootCA.key", "server.key", "token"):
        assert stat.S_IMODE((home / secret).stat().st_mode) == 0o600
    assert (home / "rootCA.key").read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", home / "rootCA.crt", home / "server.crt")
    ca = x509.load_pem_x509_certificate((home / "rootCA.crt").read_bytes())
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and not usage.value.digital_signature
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    leaf = x509.load_pem_x509_certificate((home / "server.crt").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert leaf.serial_number.bit_length() >= 128 and ca.serial_number.bit_length() >= 128


def test_prepare_again_changes_nothing_and_new_names_change_the_server_certificate_alone(home):
    before = {file.name: file.read_bytes() for file in home.iterdir()}
    assert prepare(home, "--advertise", "127.0.0.1", "--dns", "localhost") == ""
    assert {file.name: file.read_bytes() for file in home.iterdir()} == before
    prepare(home, "--advertise", "127.0.0.1", "2001:db8::7", "--dns", "hub.example.com")
    changed = [file.name for file in home.iterdir() if file.read_bytes() != before[file.name]]
    assert changed == ["server.crt"]
    openssl("verify", "-CAfile", home / "rootCA.crt", "-verify_ip", "2001:db8::7", "-verify_hostname", "hub.example.com", home / "server.crt")


def test_many_at_once_end_with_one_authority(tmp_path):
    for attempt in range(3):
        directory = tmp_path / str(attempt)
        started = [subprocess.Popen([CERTS, "prepare", "--dir", str(directory)], stderr=subprocess.DEVNULL) for _ in range(12)]
        assert [process.wait(60) for process in started] == [0] * 12
        assert openssl("pkey", "-in", directory / "rootCA.key", "-pubout") == openssl(
            "x509", "-in", directory / "rootCA.crt", "-noout", "-pubkey"
        )
        openssl("verify", "-CAfile", directory / "rootCA.crt", directory / "server.crt")
        assert sorted(file.name for file in directory.iterdir()) == [
            ".lock", "rootCA.crt", "rootCA.key", "server.crt", "server.key", "token",
        ]


@pytest.mark.parametrize("form", ["sec1", "pkcs8", "rsa", "parameters"])
def test_files_of_a_kubeedge_script_are_taken_over_as_they_are(tmp_path, form):
    directory = tmp_path / "hub"
    directory.mkdir()
    if form == "rsa":
        openssl("genrsa", "-traditional", "-out", directory / "rootCA.key", "2048")
    else:
        options = ["-noout"] if form == "sec1" else []
        openssl("ecparam", "-name", "prime256v1", "-genkey", *options, "-out", directory / "rootCA.key")
        if form == "pkcs8":
            text = openssl("pkcs8", "-topk8", "-nocrypt", "-in", directory / "rootCA.key")
            (directory / "rootCA.key").write_bytes(text)
    subject = "/C=CN/ST=Zhejiang/L=Hangzhou/O=KubeEdge/CN=kubeedge.io"
    openssl("req", "-x509", "-new", "-key", directory / "rootCA.key", "-sha256", "-days", "3650", "-subj", subject, "-out", directory / "rootCA.crt")
    before = {file.name: file.read_bytes() for file in directory.iterdir()}
    prepare(directory, "--advertise", "127.0.0.1")
    assert all((directory / file).read_bytes() == content for file, content in before.items())
    openssl("verify", "-CAfile", directory / "rootCA.crt", directory / "server.crt")
    blocks = (directory / "rootCA.key").read_text().split("-----BEGIN ")
    body = base64.b64decode("".join(blocks[-1].splitlines()[1:-1]))
    parts = (directory / "token").read_text().strip().split(".")
    assert hmac.new(body, f"{parts[1]}.{parts[2]}".encode(), hashlib.sha256).digest() == unbase64(parts[3])
    server = Server(directory)
    try:
        status, _, der = server.enroll(csr())
        assert status == 200
        (tmp_path / "edge.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM))
        openssl("verify", "-purpose", "sslclient", "-CAfile", directory / "rootCA.crt", tmp_path / "edge.pem")
    finally:
        assert server.process.stop() == 0


def test_an_authority_made_by_cloudcore_is_taken_over(tmp_path):
    """As pkg/security/certs makes it: serial 1024, no cRLSign, extended key usages on the CA, no authority key identifier."""
    directory, key, now = tmp_path / "hub", new_key(), datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "KubeEdge")])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    authority = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1024)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36400))
        .add_extension(x509.KeyUsage(True, False, True, False, False, True, False, False, False), True)
        .add_extension(x509.ExtendedKeyUsage(usages), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir()
    certificate, secret = save_pair(directory, authority, key)
    certificate.rename(directory / "rootCA.crt")
    secret.rename(directory / "rootCA.key")
    made = prepare(directory, "--advertise", "127.0.0.1")
    assert "rootCA" not in made
    server = Server(directory)
    try:
        pair = server.join(tmp_path)
        assert server.enroll(csr(), bearer=False, pair=pair)[0] == 200
    finally:
        assert server.process.stop() == 0


@pytest.mark.parametrize(
    "damage, word",
    [
        (lambda home: (home / "rootCA.key").unlink(), "no key"),
        (lambda home: (home / "rootCA.key").write_text("junk"), "private key"),
        (lambda home: (home / "rootCA.crt").write_text("junk"), "certificate"),
        (lambda home: shutil.copy(home / "server.key", home / "rootCA.key"), "does not belong"),
    ],
)
def test_a_broken_authority_is_an_error_and_is_not_overwritten(home, damage, word):
    damage(home)
    before = {file.name: file.read_bytes() for file in home.iterdir()}
    result = run([CERTS, "prepare", "--dir", str(home)])
    assert result.returncode == 78 and word.encode() in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {file.name: file.read_bytes() for file in home.iterdir()} == before


@pytest.mark.parametrize("option", [["--advertise", "hub"], ["--dns", "a,IP:1.2.3.4"], ["--dns", "a b"], ["--dns", "1.2.3.4"]])
def test_wrong_names_are_wrong_usage(tmp_path, option):
    assert run([CERTS, "prepare", "--dir", str(tmp_path / "x"), *option]).returncode == 64
    assert not (tmp_path / "x").exists()


# token


def test_the_token_is_what_kubeedge_makes(home):
    for text in (run([CERTS, "token", "--dir", str(home)]).stdout.decode(), (home / "token").read_text()):
        assert text.endswith("\n") and text.count("\n") == 1
        digest, header, claims, signature = text.strip().split(".")
        assert digest == hashlib.sha256(pem_body(home / "rootCA.crt")).hexdigest()
        assert json.loads(unbase64(header)) == {"alg": "HS256", "typ": "JWT"}
        assert list(json.loads(unbase64(claims))) == ["exp"]
        assert abs(json.loads(unbase64(claims))["exp"] - time.time() - 24 * 3600) < 60
        assert hmac.new(pem_body(home / "rootCA.key"), f"{header}.{claims}".encode(), hashlib.sha256).digest() == unbase64(signature)


def test_errors_have_a_status_and_one_line(tmp_path, home):
    for command in ("token", "serve"):
        result = run([CERTS, command, "--dir", str(tmp_path / "none")])
        assert result.returncode == 78 and b"hub-certs prepare" in result.stderr and len(result.stderr.splitlines()) == 1
    if os.geteuid() == 0:
        home.chmod(0o755)
        home.parent.chmod(0o755)
        reachable = all(parent.stat().st_mode & 0o005 == 0o005 for parent in [home, *home.parents, *Path(CERTS).parents])
        if reachable:
            result = run([CERTS, "token", "--dir", str(home)], user=65534)
            assert result.returncode == 77 and len(result.stderr.splitlines()) == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run([CERTS, "serve", "--dir", str(home), "--listen", f"127.0.0.1:{taken.getsockname()[1]}"])
    assert result.returncode == 73 and b"in use" in result.stderr
    assert run([CERTS, "serve", "--listen", "nowhere"]).returncode == 64
    assert b"EXIT STATUS" in run([CERTS, "serve", "--help"]).stdout


# serve: certificates


def test_curl_joins_as_an_edge_does(server, home, tmp_path):
    url = f"https://127.0.0.1:{server.port}"
    result = run(["curl", "-sS", "--fail", "--cacert", home / "rootCA.crt", f"{url}/ca.crt"])
    assert result.stdout == pem_body(home / "rootCA.crt")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "e.key")
    subject = "/C=CN/O=system:nodes/L=Hangzhou/ST=Zhejiang/CN=system:node:edge-0"
    openssl("req", "-new", "-key", tmp_path / "e.key", "-subj", subject, "-outform", "DER", "-out", tmp_path / "e.csr")
    common = ["curl", "-sS", "--cacert", home / "rootCA.crt", "-w", "%{http_code}", "-o", tmp_path / "e.der"]
    ask = ["-X", "GET", "-H", "NodeName: edge-0", "--data-binary", f"@{tmp_path / 'e.csr'}", f"{url}/edge.crt"]
    assert run([*common, "-H", f"Authorization: Bearer {server.bearer}", *ask]).stdout == b"200"
    openssl("x509", "-inform", "DER", "-in", tmp_path / "e.der", "-out", tmp_path / "e.crt")
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", home / "rootCA.crt", tmp_path / "e.crt")
    # And again with the certificate alone, over both versions of TLS, with the body in chunks.
    for version in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
        pair = ["--cert", tmp_path / "e.crt", "--key", tmp_path / "e.key"]
        assert run([*common, *pair, *version, "-H", "Transfer-Encoding: chunked", *ask]).stdout == b"200"
    assert [(record["node"], record["by"]) for record in server.issued()] == [
        ("edge-0", "token"), ("edge-0", "certificate"), ("edge-0", "certificate"),
    ]


def test_the_certificate_holds_what_the_policy_grants_and_no_more(server):
    key = new_key()
    wishes = [
        x509.SubjectAlternativeName([x509.DNSName("hub.example.com")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.BasicConstraints(True, None),
    ]
    status, headers, body = server.enroll(csr(key=key, extensions=wishes))
    assert status == 200 and headers["Content-Length"] == str(len(body))
    certificate = x509.load_der_x509_certificate(body)
    assert certificate.subject == name(NODE_NAMES, "edge-0")
    assert certificate.public_key() == key.public_key()
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not [item for item in certificate.extensions if item.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == datetime.timedelta(days=365)
    record = server.issued()[-1]
    assert record["node"] == "edge-0" and record["by"] == "token" and record["remote"] == "127.0.0.1"
    assert int(record["serial"], 16) == certificate.serial_number and certificate.serial_number.bit_length() >= 128
    assert record["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 3072), ec.generate_private_key(ec.SECP384R1())])
def test_other_strong_keys_are_certified(server, key):
    assert server.enroll(csr(key=key))[0] == 200


@pytest.mark.parametrize(
    "body, node, expected",
    [
        (lambda: csr("edge-1"), "edge-0", 403),
        (lambda: csr(parts=NODE_NAMES[1:]), "edge-0", 403),
        (lambda: csr(parts=[(NameOID.ORGANIZATION_NAME, "system:masters"), NODE_NAMES[1]]), "edge-0", 403),
        (lambda: csr(parts=[*NODE_NAMES, (NameOID.ORGANIZATION_NAME, "system:masters")]), "edge-0", 403),
        (lambda: csr(parts=[*NODE_NAMES, (NameOID.ORGANIZATIONAL_UNIT_NAME, "x")]), "edge-0", 403),
        (lambda: csr("Edge"), "Edge", 400),
        (lambda: csr(), None, 400),
        (lambda: b"junk", "edge-0", 400),
        (lambda: b"", "edge-0", 400),
        (lambda: csr() + b"x", "edge-0", 400),
        (lambda: csr()[:-1] + b"\0", "edge-0", 400),
        (lambda: csr(key=rsa.generate_private_key(65537, 1024)), "edge-0", 400),
        (lambda: csr(key=ec.generate_private_key(ec.SECP256K1())), "edge-0", 400),
    ],
)
def test_what_the_policy_refuses_is_not_signed(server, body, node, expected):
    status, _, text = server.enroll(body(), node)
    assert status == expected, text
    assert not (server.directory / "issued.jsonl").exists()


def test_tokens_must_be_ours_and_fresh(server, home):
    key, later = pem_body(home / "rootCA.key"), int(time.time()) + 3600
    assert server.enroll(csr(), bearer=forge(key, {"exp": later}))[0] == 200
    header, claims, signature = server.bearer.split(".")
    wrong = [
        forge(key, {"exp": int(time.time()) - 1}),
        forge(key, {}),
        forge(b"other", {"exp": later}),
        forge(key, {"exp": later}, {"alg": "HS512"}),
        forge(b"", {"exp": later}, {"alg": "none"}),
        f"{header}.{claims}.",
        f"{header}.{claims}.{signature[:-1]}",
        (home / "token").read_text().strip(),
        "x",
    ]
    for bearer in wrong:
        status, headers, _ = server.enroll(csr(), bearer=bearer)
        assert status == 401 and headers["WWW-Authenticate"] == "Bearer"
    assert server.enroll(csr(), bearer=False)[0] == 401
    assert len(server.issued()) == 1


def test_wrong_tokens_are_limited_and_good_ones_pass(start):
    server = start("--token-failures", "3")
    answers = [server.enroll(csr(), bearer="a.b.c") for _ in range(5)]
    assert [status for status, _, _ in answers] == [401, 401, 401, 429, 429]
    assert 1 <= int(answers[-1][1]["Retry-After"]) <= 60
    assert server.enroll(csr())[0] == 200
    assert server.counters()["limited"] == "2"


def test_a_certificate_renews_its_own_node_only(server, home, tmp_path):
    pair = server.join(tmp_path)
    assert server.enroll(csr(), bearer=False, pair=pair)[0] == 200
    assert server.enroll(csr("edge-1"), "edge-1", bearer=False, pair=pair)[0] == 401
    assert server.enroll(csr("edge-1"), "edge-0", bearer=False, pair=pair)[0] == 403
    assert server.counters()["renewed"] == "1"


def test_the_shared_certificate_of_old_edges_renews_nothing(server, home, tmp_path):
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "old.key")
    openssl("req", "-new", "-key", tmp_path / "old.key", "-subj", "/O=KubeEdge/CN=kubeedge.io", "-out", tmp_path / "old.csr")
    openssl(
        "x509", "-req", "-in", tmp_path / "old.csr", "-CA", home / "rootCA.crt", "-CAkey", home / "rootCA.key", "-CAcreateserial",
        "-days", "10", "-out", tmp_path / "old.crt",
    )  # fmt: skip
    pair = tmp_path / "old.crt", tmp_path / "old.key"
    assert server.enroll(csr(), bearer=False, pair=pair)[0] == 401
    assert server.enroll(csr(), pair=pair)[0] == 200
    assert server.request("POST", "/task/upgrade/name/t/node/edge-0/status", b"{}", pair=pair)[0] == 401


def test_a_certificate_of_another_authority_does_not_get_through_the_handshake(server, tmp_path):
    prepare(tmp_path / "other")
    pair = tmp_path / "other" / "server.crt", tmp_path / "other" / "server.key"
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        server.request("GET", "/ca.crt", pair=pair)
    assert server.request("GET", "/ca.crt")[0] == 200


def test_nodes_are_told_to_holders_of_a_credential(server, start, tmp_path):
    bearer = {"Authorization": f"Bearer {server.bearer}"}
    assert server.request("GET", "/node/edge-0", headers=bearer)[0] == 404
    pair = server.join(tmp_path)
    assert server.request("GET", "/node/edge-0", headers=bearer)[0] == 200
    assert server.request("GET", "/node/edge-0", pair=pair)[0] == 200
    assert server.request("GET", "/node/edge-1", pair=pair)[0] == 404
    # keadm asks without any, and joins only after 404.
    assert server.request("GET", "/node/edge-0")[0] == 404
    assert server.request("GET", "/node/edge-0", headers={"Authorization": "Bearer x"})[0] == 401
    assert server.process.stop() == 0
    assert start().request("GET", "/node/edge-0", headers=bearer)[0] == 200


@pytest.mark.parametrize(
    "method, path, expected",
    [("POST", "/edge.crt", 405), ("POST", "/ca.crt", 405), ("GET", "/nodeupgrade", 405), ("GET", "/", 404), ("GET", "/rootCA.key", 404), ("GET", "/../rootCA.key", 404)],
)
def test_routes(server, method, path, expected):
    assert server.request(method, path)[0] == expected
