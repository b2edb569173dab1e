"""A change of the CA while edges stay: what clients accept that trust the old CA, the new one, or both, judged by OpenSSL; who is counted;
and what `hub-certs` answers at each stage."""

import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import threading

import pytest
from certs_kit import (
    CERTS, Server, csr, forge, hang_up, home, openssl, pem_body, prepare, server, start,
)  # fixtures among them
from conftest import run, wait_until
from cryptography import x509
from cryptography.hazmat.primitives import serialization

__all__ = ["home", "server", "start"]  # fixtures


def rotate(home, step, *options, status=0):
    result = run([CERTS, "rotate-ca", step, "--dir", str(home), *options])
    assert result.returncode == status, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()] if status == 0 else result.stderr.decode()


def reload(server):
    assert b"event=reloaded" in hang_up(server.process)


def first_pem(path):
    return x509.load_pem_x509_certificates(path.read_bytes())[0].public_bytes(serialization.Encoding.PEM)


def trusting(tmp_path, **files):
    """Files with the CAs that a client trusts, by name."""
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    return [tmp_path / f"{name}.pem" for name in files]


def accepts(ca, port):
    """A client that trusts `ca` alone accepts the server; by Python's ssl and by `openssl s_client`."""
    context = ssl.create_default_context(cafile=ca)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1"):
            verdict = True
    except ssl.SSLCertVerificationError:
        verdict = False
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", ca, "-verify_return_error", "-verify_ip", "127.0.0.1"]
    assert (run(command).returncode == 0) == verdict
    return verdict


def served_ca(server, ca):
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl.create_default_context(cafile=ca), timeout=20)
    connection.request("GET", "/ca.crt")
    body = connection.getresponse().read()
    connection.close()
    return body


def test_edges_that_trust_either_authority_are_served_at_every_step(server, home, tmp_path):
    old = first_pem(home / "rootCA.crt")
    first_token = server.bearer
    pair = server.join(tmp_path)
    rotate(home, "begin")
    reload(server)
    # The next one is trusted, and nothing else has changed.
    certificates = x509.load_pem_x509_certificates((home / "rootCA.crt").read_bytes())
    new = certificates[1].public_bytes(serialization.Encoding.PEM)
    old_ca, new_ca, both = trusting(tmp_path, old=old, new=new, both=old + new)
    assert [accepts(ca, server.port) for ca in (old_ca, new_ca, both)] == [True, False, True]
    assert served_ca(server, old_ca) == ssl.PEM_cert_to_DER_cert(old.decode())
    assert server.enroll(csr(), bearer=False, pair=pair)[0] == 200

    rotate(home, "switch")
    reload(server)
    assert [accepts(ca, server.port) for ca in (old_ca, new_ca, both)] == [True, True, True]
    # What an edge fetches when it joins is one certificate, and the token names its hash.
    assert served_ca(server, new_ca) == ssl.PEM_cert_to_DER_cert(new.decode())
    token = (home / "token").read_text().strip()
    assert token.split(".")[0] == hashlib.sha256(served_ca(server, new_ca)).hexdigest()
    # An edge renews with its old certificate, and gets one of the new CA.
    status, _, body = server.enroll(csr(), bearer=False, pair=pair)
    assert status == 200
    (tmp_path / "renewed.pem").write_bytes(x509.load_der_x509_certificate(body).public_bytes(serialization.Encoding.PEM))
    openssl("verify", "-purpose", "sslclient", "-CAfile", new_ca, tmp_path / "renewed.pem")
    assert server.enroll(csr("edge-1"), "edge-1", bearer=first_token)[0] == 200
    assert server.enroll(csr("edge-2"), "edge-2")[0] == 200

    rotate(home, "finish")
    reload(server)
    # Edges that will never know the new CA still verify the server; what the old CA has signed is worth nothing.
    assert [accepts(ca, server.port) for ca in (old_ca, new_ca, both)] == [True, True, True]
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        server.enroll(csr(), bearer=False, pair=pair)
    assert server.enroll(csr(), bearer=first_token)[0] == 401
    assert (home / "rootCA.crt").read_bytes() == new

    # A new server certificate, for another name, comes with the same chain.
    prepare(home, "--advertise", "127.0.0.1", "--dns", "other.example.com")
    reload(server)
    assert [accepts(ca, server.port) for ca in (old_ca, new_ca)] == [True, True]

    # And again: an edge that joined under the first CA does not notice the third one either.
    for step in ("begin", "switch", "finish"):
        rotate(home, step, *(["--force"] if step == "finish" else []))
        reload(server)
    third, = trusting(tmp_path, third=first_pem(home / "rootCA.crt"))
    assert [accepts(ca, server.port) for ca in (old_ca, new_ca, third)] == [True, True, True]
    rotate(home, "begin")
    rotate(home, "switch")
    rotate(home, "finish", "--drop-cross", "--force")
    reload(server)
    assert [accepts(ca, server.port) for ca in (old_ca, new_ca, third)] == [False, False, False]


def test_the_old_authority_stays_while_nodes_have_good_certificates_of_it(server, home, tmp_path):
    pairs = {}
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        pairs[number] = server.join(tmp_path / str(number), f"edge-{number}")
    old = hashlib.sha256(pem_body(home / "rootCA.crt")).hexdigest()
    rotate(home, "begin")
    rows = rotate(home, "status")
    assert [(row["stage"], row["role"], row["nodes"]) for row in rows] == [("begun", "signing", 3), ("begun", "next", 0)]
    assert "no old CA" in rotate(home, "finish", status=75)
    assert "under way" in rotate(home, "begin", status=75)
    reload(server)
    rotate(home, "switch")
    reload(server)
    assert server.enroll(csr(), bearer=False, pair=pairs[0])[0] == 200
    rows = rotate(home, "status")
    assert [(row["role"], row["nodes"]) for row in rows] == [("signing", 1), ("old", 2)] and rows[1]["sha256"] == old
    assert [row["node"] for row in rotate(home, "status", "--nodes")] == ["edge-1", "edge-2"]
    before = (home / "rootCA.crt").read_bytes()
    assert "2 nodes" in rotate(home, "finish", status=75)
    assert (home / "rootCA.crt").read_bytes() == before and (home / "rootCA-old.key").exists()
    assert run([CERTS, "revoke", "edge-1", "--dir", str(home)]).returncode == 0
    assert "1 nodes" in rotate(home, "finish", status=75)
    assert server.enroll(csr("edge-2"), "edge-2", bearer=False, pair=pairs[2])[0] == 200
    rotate(home, "finish")
    assert rotate(home, "status") == [
        {"stage": "none", "role": "signing", "sha256": rows[0]["sha256"], "subject": rows[0]["subject"], "not_after": rows[0]["not_after"], "nodes": 2}
    ]
    assert sorted(file.name for file in home.iterdir()) == [
        ".lock", "issued.jsonl", "revoked.jsonl", "rootCA-cross.crt", "rootCA.crt", "rootCA.key", "server.crt", "server.key", "token",
    ]


def test_steps_at_once_are_serialized(home):
    for step, allowed in (("begin", 1), ("switch", 1), ("finish", 1)):
        started = [
            subprocess.Popen([CERTS, "rotate-ca", step, "--dir", str(home)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(8)
        ]
        started += [subprocess.Popen([CERTS, "prepare", "--dir", str(home)], stderr=subprocess.DEVNULL) for _ in range(2)]
        statuses = [process.wait(60) for process in started]
        assert sorted(statuses[:8]) == [0] * allowed + [75] * (8 - allowed) and statuses[8:] == [0, 0]
        signing = x509.load_pem_x509_certificates((home / "rootCA.crt").read_bytes())[0]
        key = serialization.load_pem_private_key((home / "rootCA.key").read_bytes(), None)
        assert signing.public_key() == key.public_key()
    assert not [file for file in home.iterdir() if "tmp" in file.name]


@pytest.mark.parametrize("step", ["begin", "switch", "finish"])
def test_a_killed_step_leaves_a_usable_directory_and_can_be_run_again(home, step):
    """Killed after different times; whatever was done by then, the directory serves, and the step ends well in the next run or was done."""
    for earlier in ("begin", "switch", "finish")[: ("begin", "switch", "finish").index(step)]:
        rotate(home, earlier)
    done = 0
    for delay in (0.001, 0.003, 0.005, 0.008, 0.012, 0.02):
        process = subprocess.Popen([CERTS, "rotate-ca", step, "--dir", str(home)], stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        result = run([CERTS, "token", "--dir", str(home)])
        assert result.returncode == 0, result.stderr
        assert run([CERTS, "prepare", "--dir", str(home)]).returncode == 0
        stage = rotate(home, "status")[0]["stage"]
        if stage == {"begin": "begun", "switch": "switched", "finish": "none"}[step]:
            done = 1
            break
    if not done:
        rotate(home, step)
    server = Server(home)
    try:
        assert server.enroll(csr())[0] == 200
    finally:
        assert server.process.stop() == 0


def test_files_of_a_cloudcore_are_rotated_too(tmp_path):
    directory = tmp_path / "hub"
    directory.mkdir()
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", directory / "rootCA.key")
    subject = "/C=CN/ST=Zhejiang/L=Hangzhou/O=KubeEdge/CN=kubeedge.io"
    openssl("req", "-x509", "-new", "-key", directory / "rootCA.key", "-sha256", "-days", "3650", "-subj", subject, "-out", directory / "rootCA.crt")
    key = (directory / "rootCA.key").read_bytes()
    old_ca, = trusting(tmp_path, old=(directory / "rootCA.crt").read_bytes())
    prepare(directory, "--advertise", "127.0.0.1")
    rotate(directory, "begin")
    rotate(directory, "switch")
    assert (directory / "rootCA-old.key").read_bytes() == key
    assert b"event=not_counted" in run([CERTS, "rotate-ca", "status", "--dir", str(directory)]).stderr
    # Whoever reads only the first certificate of the file, as CloudCore does, finds the one that belongs to the key.
    assert openssl("pkey", "-in", directory / "rootCA.key", "-pubout") == openssl("x509", "-in", directory / "rootCA.crt", "-noout", "-pubkey")
    server = Server(directory)
    try:
        assert accepts(old_ca, server.port)
        # A token that CloudCore made lets its bearer in until the old CA is dropped.
        former = forge(pem_body(tmp_path / "hub" / "rootCA-old.key"), {"exp": 4_000_000_000})
        assert server.enroll(csr(), bearer=former)[0] == 200
    finally:
        assert server.process.stop() == 0


def test_an_authority_that_may_not_certify_another_one_is_refused(tmp_path):
    directory = tmp_path / "hub"
    directory.mkdir()
    (tmp_path / "conf").write_text("[req]\ndistinguished_name=d\n[d]\n")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", directory / "rootCA.key")
    openssl(
        "req", "-x509", "-new", "-config", tmp_path / "conf", "-key", directory / "rootCA.key", "-days", "3650", "-subj", "/CN=limited",
        "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-out", directory / "rootCA.crt",
    )  # fmt: skip
    prepare(directory, "--advertise", "127.0.0.1")
    assert "path length" in rotate(directory, "begin", status=75)
    rotate(directory, "begin", "--force")
    assert rotate(directory, "status")[0]["stage"] == "begun"
    rotate(directory, "abort")
    assert rotate(directory, "status")[0]["stage"] == "none"


def test_renewals_go_on_through_reloads(server, home, tmp_path):
    """A client that renews all the time sees 200, or 503 with Retry-After when a reload comes between; never a refusal."""
    pair = server.join(tmp_path)
    answers, ending = [], threading.Event()

    def renew():
        while not ending.is_set():
            status, headers, _ = server.enroll(csr(), bearer=False, pair=pair)
            answers.append((status, headers["Retry-After"] is not None))

    server.process.stop()
    server = Server(home, "--node-rate", "100000")
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        for step in ("begin", "switch"):
            rotate(home, step)
            reload(server)
        wait_until(lambda: len({record["issuer"] for record in server.issued()}) == 2, what="a certificate of the new CA")
    finally:
        ending.set()
        thread.join(30)
        assert server.process.stop() == 0
    assert (200, False) in answers and set(answers) <= {(200, False), (503, True)}
