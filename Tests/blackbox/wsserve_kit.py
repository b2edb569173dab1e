"""What the tests of hub-wsserve share: an authority, a running server, raw frames."""

import contextlib
import datetime
import ipaddress
import json
import os
import queue
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

websockets = pytest.importorskip("websockets")
pytest.importorskip("cryptography")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BIN = Path(os.environ.get("HUB_BIN_DIR", Path(__file__).parents[2] / ".build" / "debug"))
WSSERVE = str(BIN / "hub-wsserve")
PATIENCE = 10


class Authority:
    def __init__(self, directory):
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "KubeEdge")])
        self.certificate = self.build(self.name, self.key.public_key(), is_authority=True)
        self.path = self.write("rootCA", self.certificate, None)

    def build(self, subject, public_key, is_authority=False, server=False, days=10):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1 if days > 0 else 10))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(is_authority, None), True)
        )
        if not is_authority:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if server:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), False)
        return builder.sign(self.key, hashes.SHA256())

    def write(self, name, certificate, key):
        path = self.directory / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key:
            (self.directory / f"{name}.key").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
                )
            )
        return path

    def issue(self, name, common_name, organizations, server=False, days=10):
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
        self.write(name, self.build(x509.Name(attributes), key.public_key(), server=server, days=days), key)
        return name

    def node(self, name):
        if not (self.directory / f"{name}.crt").exists():
            self.issue(name, f"system:node:{name}", ["system:nodes"])
        return name

    def client(self, identity=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path)
        if identity:
            context.load_cert_chain(self.directory / f"{identity}.crt", self.directory / f"{identity}.key")
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.issue("server", "hub", [], server=True)
    return made


class Server:
    def __init__(self, tmp_path, *options, authority=None, stdout=subprocess.PIPE, env=None):
        port_file = tmp_path / "port"
        port_file.unlink(missing_ok=True)
        arguments = [WSSERVE, "--listen", "127.0.0.1:0", "--print-port", str(port_file), "--log-level", "debug"]
        arguments += ["--dir", str(authority.directory)] if authority else ["--insecure"]
        self.scheme = "wss" if authority else "ws"
        self.authority = authority
        self.process = subprocess.Popen(
            arguments + list(options), stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
        )
        self.lines = queue.Queue()
        self.errors = []
        if stdout == subprocess.PIPE:
            threading.Thread(target=self.read_lines, daemon=True).start()
        self.error_reader = threading.Thread(target=self.read_errors, daemon=True)
        self.error_reader.start()
        deadline = time.monotonic() + PATIENCE
        while not port_file.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.errors
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.decode())

    def line(self, timeout=PATIENCE):
        """The next line of standard output, None at its end."""
        line = self.lines.get(timeout=timeout)
        return None if line is None else json.loads(line)

    def event(self, *names, timeout=PATIENCE):
        """The next event among `names`; other lines are skipped."""
        deadline = time.monotonic() + timeout
        while True:
            line = self.line(max(0.01, deadline - time.monotonic()))
            assert line is not None, "end of output"
            if line["hub"].get("event") in names:
                return line

    def send(self, *messages):
        for message in messages:
            text = message if isinstance(message, bytes) else json.dumps(message).encode()
            self.process.stdin.write(text + b"\n")
        self.process.stdin.flush()

    def counters(self):
        before = len(self.errors)
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.errors[before:]:
                if "event=counters" in line:
                    pairs = dict(word.split("=", 1) for word in line.split())
                    return {name: int(value) for name, value in pairs.items() if value.isdigit()}
            time.sleep(0.01)
        raise AssertionError("no counters")

    def counter(self, name, expected, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while True:
            value = self.counters()[name]
            if value == expected or time.monotonic() > deadline:
                return value
            time.sleep(0.05)

    def connect(self, node="edge-0", identity=None, headers=None, **options):
        if self.scheme == "wss":
            options["ssl"] = self.authority.client(identity or self.authority.node(node))
        options.setdefault("max_size", None)
        options.setdefault("open_timeout", PATIENCE)
        return websockets.connect(
            f"{self.scheme}://127.0.0.1:{self.port}/project-1/{node}/events",
            additional_headers=headers or {"Node_id": node, "Project_id": "project-1", "Connectionuse": "msg"},
            compression=None,
            **options,
        )

    def raw(self, node="edge-0", after=b"", receive_buffer=None):
        """A plain socket after its upgrade."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(upgrade_request(node) + after)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(1)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return connection

    def stop(self, expected=0, signalled=False):
        if self.process.poll() is None and not signalled:
            self.process.terminate()
        status = self.process.wait(timeout=PATIENCE + 5)
        self.error_reader.join(timeout=PATIENCE)
        assert status == expected, self.errors

    def kill(self):
        """For the end of a test, whatever has become of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def upgrade_request(node, extra=""):
    return (
        f"GET /p/{node}/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: SacUxZ7PIXZ2YTBFjKDlog==\r\nnode_id: {node}\r\nproject_id: p\r\n{extra}\r\n"
    ).encode()


@pytest.fixture
def start(tmp_path):
    servers = []

    def run(*options, **more):
        servers.append(Server(tmp_path, *options, **more))
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        for stream in (server.process.stdin, server.process.stdout, server.process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream:
                    stream.close()


def frame(payload, opcode=1, fin=True, masked=True, first=None, key=b"\x01\x02\x03\x04"):
    head = bytes([first if first is not None else (0x80 if fin else 0) | opcode])
    flag = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 1 << 16:
        head += bytes([flag | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return head + payload
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def read_frame(connection):
    def exactly(count):
        data = b""
        while len(data) < count:
            piece = connection.recv(count - len(data))
            if not piece:
                raise EOFError(data)
            data += piece
        return data

    first, second = exactly(2)
    length = second & 127
    assert second & 128 == 0, "the server masks"
    if length == 126:
        length = struct.unpack("!H", exactly(2))[0]
    elif length == 127:
        length = struct.unpack("!Q", exactly(8))[0]
    return first & 15, exactly(length)


def close_code(connection):
    """The code of the close frame that comes, after other frames."""
    while True:
        opcode, payload = read_frame(connection)
        if opcode == 8:
            return struct.unpack("!H", payload[:2])[0] if payload else None


def up(number=1, operation="update", content=1, **more):
    route = {"source": "edged", "group": "meta", "operation": operation, "resource": "default/pod/a"}
    return {"header": {"msg_id": f"up-{number}", "timestamp": 1}, "route": route, "content": content, **more}


def down(number, node="edge-0", kind="ack", session=None, content=None):
    hub = {"kind": kind, "node": node}
    if kind == "ack":
        hub |= {"key": "k", "version": "1"}
    if session is not None:
        hub["session"] = session
    route = {"source": "edgecontroller", "group": "resource", "operation": "update", "resource": "default/configmap/a"}
    return {"hub": hub, "header": {"msg_id": f"down-{number}", "timestamp": 1}, "route": route, "content": content or {"a": 1}}


def event(name, node=None, msg_id="q-1", **hub):
    hub = {"kind": "event", **({"node": node} if node else {}), "event": name, **hub}
    return {"hub": hub, "header": {"msg_id": msg_id, "timestamp": 1}, "route": {"source": "cloudhub"}, "content": {}}
