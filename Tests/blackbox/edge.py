"""An edge node in Python, independent of the hub's own code: PyPI `websockets` and `cryptography` only.

Written from the wire format alone. It joins with the token, checks the CA against the token's hash, has a certificate signed for
itself, connects, acknowledges what it gets, and sends messages of its own.
"""

import asyncio
import hashlib
import http.client
import json
import ssl
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

PROJECT = "e632aba927ea4ac2b575ec1603d56f10"


class JoinRefused(Exception):
    """The certificate service answered with another status than 200."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:200]!r}")
        self.status = status


@dataclass
class Identity:
    """The files that a node keeps after it has joined."""

    node: str
    ca: Path
    certificate: Path
    key: Path

    def tls(self):
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


def signing_request(node, key, organisation="system:nodes", common_name=None):
    """A CSR as an edge makes it: `O=system:nodes`, `CN=system:node:<node>`; DER."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name or f"system:node:{node}"),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def fetch_ca(port, host="127.0.0.1"):
    """The CA as DER. Nothing is known yet that could verify the server; the token's hash does, afterwards."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=20)
    connection.request("GET", "/ca.crt")
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise JoinRefused(response.status, body)
    return body


def request_certificate(port, ca_pem, node, csr, token=None, identity=None, host="127.0.0.1"):
    """`GET /edge.crt` with the CSR as its body; the certificate as DER."""
    context = identity.tls() if identity else ssl.create_default_context(cadata=ca_pem)
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=20)
    headers = {"NodeName": node}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("GET", "/edge.crt", body=csr, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise JoinRefused(response.status, body)
    return body


def join(node, port, join_token, directory, host="127.0.0.1"):
    """Joins with the token `hex(SHA-256(CA)).<jwt>`; returns the node's identity."""
    digest, bearer = join_token.strip().split(".", 1)
    ca = fetch_ca(port, host)
    if hashlib.sha256(ca).hexdigest() != digest:
        raise ValueError("the CA is not the one that the token names")
    ca_pem = ssl.DER_cert_to_PEM_cert(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = request_certificate(port, ca_pem, node, signing_request(node, key), token=bearer, host=host)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    identity = Identity(node, directory / "ca.pem", directory / f"{node}.crt", directory / f"{node}.key")
    identity.ca.write_text(ca_pem)
    identity.certificate.write_text(ssl.DER_cert_to_PEM_cert(certificate))
    identity.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return identity


class _Loop:
    """The event loop of all edges, in a thread of its own. (The library's blocking client shares one TLS object between two threads.)"""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, coroutine, timeout=30):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)


_loop = _Loop()


class Edge:
    """A connected node. `received` holds the messages that have come, `frames` their exact text."""

    def __init__(self, node, port, identity=None, acknowledges=True, host="127.0.0.1", header=None, max_size=64 << 20):
        self.node = node
        self.acknowledges = acknowledges
        self.received = []
        self.frames = []
        self.close_code = None
        self._changed = threading.Condition()
        scheme = "wss" if identity else "ws"
        self._socket = _loop.call(
            self._connect(
                f"{scheme}://{host}:{port}/{PROJECT}/{node}/events",
                ssl=identity.tls() if identity else None,
                additional_headers={"Node_id": header or node, "Project_id": PROJECT, "Connectionuse": "msg"},
                compression=None,
                proxy=None,
                user_agent_header="Go-http-client/1.1",
                max_size=max_size,
                open_timeout=20,
                close_timeout=5,
                ping_interval=None,
            )
        )
        self.keepalive()
        self._receiver = asyncio.run_coroutine_threadsafe(self._receive(), _loop.loop)

    @staticmethod
    async def _connect(*arguments, **options):
        return await connect(*arguments, **options)

    async def _receive(self):
        try:
            async for frame in self._socket:
                message = json.loads(frame)
                if self.acknowledges and self.wants_acknowledgement(message):
                    await self._socket.send(self.acknowledgement(message))
                with self._changed:
                    self.frames.append(frame)
                    self.received.append(message)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        with self._changed:
            self.close_code = self._socket.close_code
            self._changed.notify_all()

    @staticmethod
    def wants_acknowledgement(message):
        """An edge acknowledges the objects that it stores."""
        route = message["route"]
        return route.get("group") == "resource" and route.get("operation") in ("insert", "update", "delete", "response")

    @classmethod
    def acknowledgement(cls, message, operation="response", content="OK"):
        route = message["route"]
        return cls.text(
            operation, route.get("resource", ""), content, route.get("source", ""), route.get("group", ""), message["header"]["msg_id"])[1]

    @staticmethod
    def text(operation, resource, content, source, group, parent=None, message_id=None):
        """A new message: its id, and the frame."""
        header = {"msg_id": message_id or str(uuid.uuid4()), "timestamp": int(time.time() * 1000)}
        if parent is not None:
            header["parent_msg_id"] = parent
        route = {"source": source, "group": group, "operation": operation, "resource": resource}
        return header["msg_id"], json.dumps({"header": header, "route": route, "content": content}, separators=(",", ":")) + "\n"

    def acknowledge(self, message, operation="response", content="OK"):
        self.send_text(self.acknowledgement(message, operation, content))

    def keepalive(self):
        self.send_message("keepalive", "node", "ping", source="websocket", group="resource")

    def send_message(self, operation, resource, content, source="edged", group="meta", parent=None, message_id=None):
        """Sends a message of this node; returns its id."""
        identity, text = self.text(operation, resource, content, source, group, parent, message_id)
        self.send_text(text)
        return identity

    def send_text(self, text):
        _loop.call(self._socket.send(text))

    def wait(self, condition, timeout=20):
        """Waits until `condition(messages)` holds; returns the messages."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.received), timeout):
                raise AssertionError(f"{self.node} waited {timeout} s in vain; it has {[m['header'] for m in self.received[-5:]]}")
            return list(self.received)

    def wait_count(self, count, timeout=20):
        return self.wait(lambda messages: len(messages) >= count, timeout)

    def wait_closed(self, timeout=20):
        with self._changed:
            assert self._changed.wait_for(lambda: self.close_code is not None, timeout), f"{self.node} is still connected"
            return self.close_code

    def close(self):
        _loop.call(self._socket.close())
        self._receiver.result(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
