"""hub-certs: revoked nodes, tokens for one node and for one use, expired certificates, and two of everything at once."""

import hashlib
import hmac
import http.client
import json
import ssl
import subprocess
import threading
import time

import pytest
from certs_kit import (
    CERTS, Server, certificate_of, csr, forge, hang_up, home, pem_body, save_pair, server, start, unbase64,
)  # fixtures among them
from conftest import run
from cryptography import x509

__all__ = ["home", "server", "start"]  # fixtures


def certs(home, command, *arguments, status=0):
    result = run([CERTS, command, *arguments, "--dir", str(home)])
    assert result.returncode == status, result.stderr
    return result.stdout.decode().strip()


def token(home, *options):
    """A new join token, without the hash of the CA."""
    return certs(home, "token", *options).partition(".")[2]


# revoke


def test_a_revoked_node_renews_nothing_and_comes_back_by_joining_anew(server, home, tmp_path):
    pair = server.join(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    innocent = server.join(other, "edge-1")
    (tmp_path / "unrecorded").mkdir()
    unrecorded = save_pair(tmp_path / "unrecorded", *certificate_of(home, "edge-0", -1000, 1000))
    certs(home, "revoke", "edge-0")
    assert server.enroll(csr(), bearer=False, pair=pair)[0] == 200, "before SIGHUP"
    line = hang_up(server.process)
    assert b"event=reloaded" in line and b"revocations=1" in line
    for gone in (pair, unrecorded):
        status, _, text = server.enroll(csr(), bearer=False, pair=gone)
        assert (status, text) == (403, b"the certificate is revoked")
        assert server.request("POST", "/nodeupgrade", b"{}", pair=gone)[0] == 403
        assert server.request("GET", "/node/edge-1", pair=gone)[0] == 403
    server.process.wait_errors(b'event=client_refused node=edge-0 reason="the certificate is revoked"')
    assert server.enroll(csr("edge-1"), "edge-1", bearer=False, pair=innocent)[0] == 200
    # It joins anew, at once, and what it gets then is good.
    fresh = server.join(tmp_path)
    assert server.enroll(csr(), bearer=False, pair=fresh)[0] == 200
    certificate = x509.load_pem_x509_certificate(fresh[0].read_bytes())
    until = json.loads((home / "revoked.jsonl").read_text())["until"]
    assert certificate.not_valid_before_utc.timestamp() == until + 1
    # Revoked again, all of it is.
    certs(home, "revoke", "edge-0")
    hang_up(server.process)
    assert server.enroll(csr(), bearer=False, pair=fresh)[0] == 403
    certs(home, "allow", "edge-0")
    hang_up(server.process)
    assert server.enroll(csr(), bearer=False, pair=fresh)[0] == 200
    certs(home, "allow", "edge-0", status=66)


def test_a_banned_node_gets_nothing_until_it_is_allowed(server, home, tmp_path):
    certs(home, "revoke", "edge-0", "--ban")
    hang_up(server.process)
    assert server.enroll(csr())[::2] == (403, b"the node is banned")
    assert server.enroll(csr(), bearer=token(home, "--node", "edge-0"))[0] == 403
    assert server.enroll(csr("edge-1"), "edge-1")[0] == 200
    # A later revocation does not end the ban.
    certs(home, "revoke", "edge-0")
    hang_up(server.process)
    assert server.enroll(csr())[0] == 403
    certs(home, "allow", "edge-0")
    hang_up(server.process)
    assert server.enroll(csr())[0] == 200


def test_a_revoked_node_that_asks_again_and_again_is_limited(start, home, tmp_path):
    server = start("--token-failures", "3")
    pair = server.join(tmp_path)
    certs(home, "revoke", "edge-0")
    hang_up(server.process)
    answers = [server.enroll(csr(), bearer=False, pair=pair) for _ in range(5)]
    assert [status for status, _, _ in answers] == [403, 403, 403, 429, 429] and answers[-1][1]["Retry-After"]
    assert sum(b"event=client_refused" in line for line in server.process.errors) == 3
    assert server.enroll(csr())[0] == 200


def test_one_certificate_can_be_refused(server, home, tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    pairs = [server.join(directory) for directory in (first, second)]
    serial = server.issued()[0]["serial"]
    certs(home, "revoke", "edge-0", "--serial", ":".join(serial[at : at + 2].upper() for at in range(0, len(serial), 2)))
    hang_up(server.process)
    assert [server.enroll(csr(), bearer=False, pair=pair)[0] for pair in pairs] == [403, 200]


def test_a_connection_from_before_a_reload_is_not_believed(server, home, tmp_path):
    pair = server.join(tmp_path)
    kept = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls(pair), timeout=20)
    busy = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls(pair), timeout=20)
    body = csr()
    for connection in (kept, busy):
        connection.request("GET", "/edge.crt", body, {"NodeName": "edge-0"})
        assert connection.getresponse().read()
    busy.putrequest("GET", "/edge.crt")
    busy.putheader("NodeName", "edge-0")
    busy.putheader("Content-Length", str(len(body)))
    busy.endheaders(body[:10])
    time.sleep(0.3)
    certs(home, "revoke", "edge-0")
    hang_up(server.process)
    busy.send(body[10:])
    answer = busy.getresponse()
    assert answer.status == 503 and answer.headers["Retry-After"] and answer.headers["Connection"] == "close"
    with pytest.raises((OSError, http.client.HTTPException)):
        kept.auto_open = 0
        kept.request("GET", "/edge.crt", body, {"NodeName": "edge-0"})
        kept.getresponse()
    kept.close()
    busy.close()


def test_a_list_that_cannot_be_read_lets_nobody_in_by_mistake(home, start):
    (home / "revoked.jsonl").write_text('{"node":"edge-0","until":1}\n{"node":\n')
    result = run([CERTS, "serve", "--dir", str(home), "--listen", "127.0.0.1:0"])
    assert result.returncode == 78 and b"line 2 is no revocation" in result.stderr
    assert run([CERTS, "revoke", "edge-1", "--dir", str(home)]).returncode == 78
    (home / "revoked.jsonl").unlink()
    server = start()
    (home / "revoked.jsonl").write_text("x\n")
    assert b"event=reload_failed" in hang_up(server.process)
    assert server.enroll(csr())[0] == 200


def test_others_can_check_a_crl(server, home, tmp_path):
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        server.join(tmp_path / str(number), f"edge-{number}")

    def judge():
        (tmp_path / "crl.pem").write_text(certs(home, "crl") + "\n")
        common = ["openssl", "verify", "-crl_check", "-x509_strict", "-CAfile", home / "rootCA.crt", "-CRLfile", tmp_path / "crl.pem"]
        return [run([*common, tmp_path / str(number) / "client.crt"]) for number in range(2)]

    assert [done.returncode for done in judge()] == [0, 0]
    certs(home, "revoke", "edge-0")
    revoked, good = judge()
    assert b"certificate revoked" in revoked.stderr and good.returncode == 0
    crl = x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
    assert [entry.serial_number for entry in crl] == [int(server.issued()[0]["serial"], 16)]
    ca = x509.load_pem_x509_certificate((home / "rootCA.crt").read_bytes())
    assert crl.is_signature_valid(ca.public_key()) and crl.next_update_utc == ca.not_valid_after_utc
    # While two authorities hold, there are two lists.
    for step in ("begin", "switch"):
        assert run([CERTS, "rotate-ca", step, "--dir", str(home)]).returncode == 0
    revoked, good = judge()
    assert b"certificate revoked" in revoked.stderr and good.returncode == 0


def test_revocations_at_once_are_all_kept(home):
    started = [subprocess.Popen([CERTS, "revoke", f"edge-{number}", "--dir", home], stderr=subprocess.DEVNULL) for number in range(8)]
    assert [process.wait(60) for process in started] == [0] * 8
    nodes = [json.loads(line)["node"] for line in (home / "revoked.jsonl").read_text().splitlines()]
    assert nodes == [f"edge-{number}" for number in range(8)]


@pytest.mark.parametrize(
    "arguments", [["revoke", "Edge"], ["revoke"], ["revoke", "e", "--serial", "xyz"], ["revoke", "e", "--serial", "1", "--ban"], ["allow", "a/b"]]
)
def test_wrong_usage_of_revoke(home, arguments):
    assert run([CERTS, *arguments, "--dir", str(home)]).returncode == 64
    assert not (home / "revoked.jsonl").exists()


# tokens


def test_a_token_for_one_node_is_what_keadm_and_edgecore_pass_on(home):
    text = certs(home, "token", "--node", "edge-0", "--ttl", "1h", "--once")
    digest, header, claims, signature = text.split(".")
    assert digest == hashlib.sha256(pem_body(home / "rootCA.crt")).hexdigest()
    assert json.loads(unbase64(header)) == {"alg": "HS256", "typ": "JWT"}
    said = json.loads(unbase64(claims))
    assert list(said) == ["exp", "sub", "jti"] and said["sub"] == "system:node:edge-0" and len(said["jti"]) == 32
    assert abs(said["exp"] - time.time() - 3600) < 30
    assert hmac.new(pem_body(home / "rootCA.key"), f"{header}.{claims}".encode(), hashlib.sha256).digest() == unbase64(signature)
    assert "jti" not in json.loads(unbase64(certs(home, "token", "--node", "edge-0").split(".")[2]))


def test_a_token_for_one_node_enrols_no_other(server, home):
    bound = token(home, "--node", "edge-0", "--ttl", "60")
    assert server.enroll(csr("edge-1"), "edge-1", bearer=bound)[::2] == (401, b"the token is for another node")
    assert server.request("GET", "/node/edge-1", headers={"Authorization": f"Bearer {bound}"})[0] == 401
    assert [server.enroll(csr(), bearer=bound)[0] for _ in range(2)] == [200, 200]


def test_a_token_for_one_use_is_spent_once_also_after_a_restart_and_among_many(home, start):
    server = start("--node-rate", "1000", "--token-failures", "1000")
    once = [token(home, "--node", "edge-0", "--ttl", "10m", "--once") for _ in range(2)]
    # A request that is refused for another reason spends nothing.
    assert server.enroll(b"junk", bearer=once[0])[0] == 400
    assert server.enroll(csr("edge-1"), "edge-1", bearer=once[0])[0] == 401
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.enroll(csr(), bearer=once[0])[0])) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200] + [401] * 11
    server.process.wait_errors(b'reason="the token has been used"')
    assert server.enroll(csr(), bearer=once[0])[::2] == (401, b"the token has been used")
    record = server.issued()[-1]
    assert record["token"] == json.loads(unbase64(once[0].split(".")[1]))["jti"] and len(server.issued()) == 1
    # Killed, so that only what is on the disk counts.
    server.process.kill()
    server = start()
    assert server.enroll(csr(), bearer=once[0])[0] == 401
    assert server.enroll(csr(), bearer=once[1])[0] == 200


def test_a_token_is_not_spent_by_a_certificate_that_did_not_leave(server, home):
    once = token(home, "--node", "edge-0", "--once")
    (home / "issued.jsonl").mkdir()
    assert server.enroll(csr(), bearer=once)[0] == 503
    (home / "issued.jsonl").rmdir()
    assert [server.enroll(csr(), bearer=once)[0] for _ in range(2)] == [200, 401]


def test_shared_tokens_can_be_refused(home, start):
    (home / "token").unlink()
    server = start("--no-shared-token")
    assert not (home / "token").exists()
    assert server.enroll(csr(), bearer=token(home))[::2] == (401, b"only tokens for one node are taken")
    assert server.enroll(csr(), bearer=token(home, "--node", "edge-0"))[0] == 200


def test_claims_are_checked(server, home, start):
    key, later = pem_body(home / "rootCA.key"), int(time.time()) + 3600
    good = {"exp": later, "sub": "system:node:edge-0", "nbf": later - 7000, "iat": 1, "x": "y"}
    assert server.enroll(csr(), bearer=forge(key, good))[0] == 200
    for claims in (
        {**good, "sub": "edge-0"}, {**good, "sub": 1}, {**good, "sub": "system:node:"}, {**good, "jti": ""}, {**good, "jti": 5},
        {**good, "nbf": later}, {**good, "nbf": "now"},
    ):  # fmt: skip
        assert server.enroll(csr(), bearer=forge(key, claims))[0] == 401, claims
    past = {"exp": int(time.time()) - 20}
    assert server.enroll(csr(), bearer=forge(key, past))[0] in (401, 429)
    lenient = start("--token-leeway", "60")
    assert lenient.enroll(csr(), bearer=forge(key, past))[0] == 200
    assert lenient.enroll(csr(), bearer=forge(key, {"exp": int(time.time()) - 120}))[0] == 401


@pytest.mark.parametrize("options", [["--once"], ["--node", "Edge"], ["--ttl", "0"], ["--ttl", "1w"], ["--ttl", "-1"], ["--ttl", "11y"]])
def test_wrong_usage_of_token(home, options):
    assert run([CERTS, "token", "--dir", str(home), *options]).returncode == 64


# Expiry


def test_an_expired_certificate_renews_within_the_grace_and_does_nothing_else(home, start, tmp_path):
    late = save_pair(tmp_path, *certificate_of(home, "edge-0", -1000, -30))
    strict = start()
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        strict.enroll(csr(), bearer=False, pair=late)
    server = start("--renewal-grace", "60")
    assert server.request("POST", "/nodeupgrade", b"{}", pair=late)[0] == 403
    assert server.request("GET", "/node/edge-0", pair=late)[0] == 403
    assert server.enroll(csr("edge-1"), "edge-1", bearer=False, pair=late)[0] == 401
    assert server.enroll(csr(), bearer=False, pair=late)[0] == 200
    too_late = save_pair(tmp_path, *certificate_of(home, "edge-0", -1000, -90))
    assert server.enroll(csr(), bearer=False, pair=too_late)[::2] == (403, b"the certificate has expired")
    assert server.enroll(csr(), pair=too_late)[0] == 200, "with a token it joins as anybody"
    # The grace is for the time alone: another authority's certificate does not pass the handshake.
    stranger = tmp_path / "stranger"
    assert run([CERTS, "prepare", "--dir", str(stranger)]).returncode == 0
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        server.enroll(csr(), bearer=False, pair=save_pair(tmp_path, *certificate_of(stranger, "edge-0", -1000, -30)))
    # Neither is a revoked one renewed.
    certs(home, "revoke", "edge-0")
    hang_up(server.process)
    late = save_pair(tmp_path, *certificate_of(home, "edge-0", -1000, -30))
    assert server.enroll(csr(), bearer=False, pair=late)[0] == 403


def test_certificates_begin_early_enough_for_bad_clocks(server, home):
    now = time.time()
    edge = x509.load_der_x509_certificate(server.enroll(csr())[2])
    for file, margin in (("rootCA.crt", 86_400), ("server.crt", 86_400)):
        begin = x509.load_pem_x509_certificate((home / file).read_bytes()).not_valid_before_utc.timestamp()
        assert abs(now - margin - begin) < 60
    assert abs(now - 300 - edge.not_valid_before_utc.timestamp()) < 60


def test_eight_servers_that_start_at_once_on_an_empty_directory_have_one_authority(tmp_path):
    directory = tmp_path / "hub"
    command = f'"{CERTS}" prepare --dir "{directory}" --advertise 127.0.0.1 && exec "{CERTS}" serve --dir "{directory}" --listen 127.0.0.1:0 --print-port "$0"'
    started = [
        subprocess.Popen(["sh", "-c", command, tmp_path / f"port-{number}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for number in range(8)
    ]
    try:
        deadline = time.monotonic() + 60
        while not all((tmp_path / f"port-{number}").exists() for number in range(8)):
            assert time.monotonic() < deadline and all(process.poll() is None for process in started)
            time.sleep(0.05)
        answers = set()
        for number in range(8):
            server = Server.__new__(Server)
            server.directory, server.port = directory, int((tmp_path / f"port-{number}").read_text())
            answers.add(server.request("GET", "/ca.crt")[2])
            # The token that lies there is good for each of them.
            assert server.enroll(csr(f"edge-{number}"), f"edge-{number}")[0] == 200
        assert answers == {pem_body(directory / "rootCA.crt")}
        assert len((directory / "issued.jsonl").read_text().splitlines()) == 8
    finally:
        for process in started:
            process.terminate()
        assert [process.wait(20) for process in started] == [0] * 8
        for process in started:
            process.stderr.close()
