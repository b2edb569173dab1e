"""What the tests of hub-certs share: a prepared directory, a running server, requests and forged tokens."""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import signal
import ssl
import subprocess

import pytest
from conftest import Process, program, run, wait_until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTS = program("hub-certs")
NODE_NAMES = [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, "system:node:{}")]
EDGECORE_NAMES = [
    (NameOID.COUNTRY_NAME, "CN"),
    (NameOID.ORGANIZATION_NAME, "system:nodes"),
    (NameOID.LOCALITY_NAME, "Hangzhou"),
    (NameOID.STATE_OR_PROVINCE_NAME, "Zhejiang"),
    (NameOID.COMMON_NAME, "system:node:{}"),
]


# Helpers


def prepare(directory, *names):
    result = run([CERTS, "prepare", "--dir", str(directory), *names])
    assert result.returncode == 0, result.stderr
    return result.stderr.decode()


def openssl(*arguments, data=b""):
    result = run(["openssl", *map(str, arguments)], data)
    assert result.returncode == 0, result.stderr
    return result.stdout


def name(parts, node):
    return x509.Name([x509.NameAttribute(kind, text.format(node)) for kind, text in parts])


def new_key(kind="ec"):
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def csr(node="edge-0", parts=EDGECORE_NAMES, key=None, extensions=()):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(parts, node))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def save_pair(directory, certificate, key):
    paths = directory / "client.crt", directory / "client.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return paths


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pem_body(path):
    """What the first PEM block of a file holds."""
    lines = path.read_text().splitlines()
    return base64.b64decode("".join(lines[1 : next(number for number, line in enumerate(lines) if line.startswith("-----END"))]))


def forge(key, claims, header={"alg": "HS256", "typ": "JWT"}):
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    code = hmac.new(key, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(code).rstrip(b"=")]).decode()


class Server:
    """`hub-certs serve` on a free port."""

    def __init__(self, directory, *options):
        self.directory = directory
        port_file = directory.parent / "port"
        port_file.unlink(missing_ok=True)
        arguments = [CERTS, "serve", "--dir", str(directory), "--listen", "127.0.0.1:0", "--print-port", str(port_file), *options]
        self.process = Process(arguments, stdin=subprocess.DEVNULL)
        wait_until(lambda: port_file.exists() or self.process.process.poll() is not None, what="the port")
        assert self.process.process.poll() is None, self.process.errors
        self.port = int(port_file.read_text())

    @property
    def bearer(self):
        return (self.directory / "token").read_text().strip().partition(".")[2]

    def tls(self, pair=None):
        context = ssl.create_default_context(cafile=self.directory / "rootCA.crt")
        if pair:
            context.load_cert_chain(*pair)
        return context

    def request(self, method, path, body=None, headers={}, pair=None):
        """Status, headers and body of the answer."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(pair), timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def enroll(self, body, node="edge-0", bearer=True, pair=None):
        headers = {"NodeName": node} if node is not None else {}
        if bearer:
            headers["Authorization"] = "Bearer " + (self.bearer if bearer is True else bearer)
        return self.request("GET", "/edge.crt", body, headers, pair)

    def join(self, directory, node="edge-0"):
        key = new_key()
        status, _, body = self.enroll(csr(node, key=key), node)
        assert status == 200, body
        return save_pair(directory, x509.load_der_x509_certificate(body), key)

    def counters(self):
        before = len([line for line in self.process.errors if b"event=counters" in line])
        self.process.process.send_signal(signal.SIGUSR1)
        lines = wait_until(lambda: [line for line in self.process.errors if b"event=counters" in line][before:], what="counters")
        return {word.split("=")[0]: word.split("=")[1] for word in lines[0].decode().split()[2:]}

    def issued(self):
        return [json.loads(line) for line in (self.directory / "issued.jsonl").read_text().splitlines()]


@pytest.fixture
def home(tmp_path):
    directory = tmp_path / "hub"
    prepare(directory, "--advertise", "127.0.0.1", "--dns", "localhost")
    return directory


@pytest.fixture
def start(home):
    servers = []

    def make(*options):
        servers.append(Server(home, *options))
        return servers[-1]

    yield make
    for server in servers:
        if server.process.process.poll() is None:
            server.process.process.kill()
        server.process.process.wait(20)


@pytest.fixture
def server(start):
    return start()


def certificate_of(home, node, begin, end, serial=None):
    """A node's certificate as a CloudCore would have issued it: nothing here has a record of it. Times are seconds from now."""
    key, now = new_key(), datetime.datetime.now(datetime.timezone.utc)
    authority = x509.load_pem_x509_certificates((home / "rootCA.crt").read_bytes())[0]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(NODE_NAMES, node))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(seconds=begin))
        .not_valid_after(now + datetime.timedelta(seconds=end))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(serialization.load_pem_private_key((home / "rootCA.key").read_bytes(), None), hashes.SHA256())
    )
    return certificate, key


def hang_up(process, event=b"event=reload"):
    """SIGHUP to a Process, and the line with which it says that the files have been read."""
    before = sum(event in line for line in process.errors)
    process.process.send_signal(signal.SIGHUP)
    process._wait(process.errors, lambda lines: sum(event in line for line in lines) > before, 20, "the reload")
    return [line for line in process.errors if event in line][-1]
