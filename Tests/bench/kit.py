"""Tools of rows about fairness: a raw edge, a delaying proxy, a network with a long round trip, one input for two writers."""

import asyncio
import base64
import ctypes
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import uuid

CLONE_NEWNET = 0x4000_0000


class RawEdge:
    """An edge that only reads, at its own pace: nothing of it reads ahead. It answers pings and sends keepalives."""

    def __init__(self, node, port, certificates, receive_buffer=None):
        self.node = node
        context = ssl.create_default_context(cafile=str(certificates / "rootCA.crt"))
        context.load_cert_chain(certificates / f"{node}.crt", certificates / f"{node}.key")
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.connect(("127.0.0.1", port))
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        request = (
            f"GET /e632aba927ea4ac2b575ec1603d56f10/{node}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nnode_id: {node}\r\n"
            "project_id: e632aba927ea4ac2b575ec1603d56f10\r\nconnectionuse: msg\r\n\r\n")
        self.socket.sendall(request.encode())
        self.waiting = b""
        while b"\r\n\r\n" not in self.waiting:
            self.waiting += self._some(4096)
        head, self.waiting = self.waiting.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"no upgrade: {head[:200]!r}")
        self.read = 0

    def _some(self, size):
        data = self.socket.recv(size)
        if not data:
            raise ConnectionResetError("closed")
        return data

    def _send(self, opcode, payload):
        mask = os.urandom(4)
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def keepalive(self):
        self._text("keepalive", "node", "ping", "websocket", "resource")

    def _text(self, operation, resource, content, source, group, parent=None):
        header = {"msg_id": str(uuid.uuid4()), "timestamp": int(time.time() * 1000), **({"parent_msg_id": parent} if parent else {})}
        route = {"source": source, "group": group, "operation": operation, "resource": resource}
        self._send(1, json.dumps({"header": header, "route": route, "content": content}).encode())

    def acknowledge(self, message):
        route = message["route"]
        self._text("response", route["resource"], "OK", route.get("source", ""), route["group"], message["header"]["msg_id"])

    def take(self, size):
        """Reads up to `size` bytes; returns the messages that are complete."""
        data = self._some(size)
        self.read += len(data)
        self.waiting += data
        messages = []
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == 9:
                self._send(10, payload)
            elif opcode == 8:
                raise ConnectionResetError(f"closed with {struct.unpack('>H', payload[:2])[0] if payload else 'no code'}")
            elif opcode == 1:
                messages.append(json.loads(payload))
        return messages

    def _frame(self):
        if len(self.waiting) < 2:
            return None
        size, start = self.waiting[1] & 0x7F, 2
        if size == 126:
            if len(self.waiting) < 4:
                return None
            size, start = struct.unpack(">H", self.waiting[2:4])[0], 4
        elif size == 127:
            if len(self.waiting) < 10:
                return None
            size, start = struct.unpack(">Q", self.waiting[2:10])[0], 10
        if len(self.waiting) < start + size:
            return None
        opcode, payload = self.waiting[0] & 0x0F, self.waiting[start:start + size]
        self.waiting = self.waiting[start + size:]
        return opcode, payload

    def close(self):
        self.socket.close()


class DelayProxy:
    """Carries TCP connections to a port of this machine, everything `delay` seconds late in each direction."""

    def __init__(self, port, delay):
        self.loop = asyncio.new_event_loop()
        self.target, self.delay = port, delay
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(10)

    async def _listen(self):
        proxy = self

        class Side(asyncio.Protocol):
            def __init__(self, other=None):
                self.other, self.early = other, []

            def connection_made(self, transport):
                self.transport = transport
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.other is None:
                    proxy.loop.create_task(self._join())

            async def _join(self):
                _, self.other = await proxy.loop.create_connection(lambda: Side(self), "127.0.0.1", proxy.target)
                for data in self.early:
                    self.data_received(data)

            def data_received(self, data):
                if self.other is None:
                    self.early.append(data)
                else:
                    proxy.loop.call_later(proxy.delay, self.other.transport.write, data)

            def connection_lost(self, _):
                if self.other is not None:
                    proxy.loop.call_later(proxy.delay, self.other.transport.close)

        server = await self.loop.create_server(Side, "127.0.0.1", 0)
        return server.sockets[0].getsockname()[1]


class LongNetwork:
    """A network namespace whose loopback interface delays each packet, for what is started inside `with`."""

    def __init__(self, delay):
        self.delay = delay
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.old = None

    @staticmethod
    def why_not():
        """None, or why there can be no such network."""
        if os.geteuid() != 0:
            return "not root"
        if not all(map(shutil.which, ("ip", "tc", "unshare"))):
            return "no ip, tc or unshare"
        tried = subprocess.run(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"], capture_output=True)
        return None if tried.returncode == 0 else f"no netem: {tried.stderr.decode().strip().splitlines()[-1]}"

    def __enter__(self):
        self.old = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if self.libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", f"{self.delay * 1e3:g}ms", "limit", "1000000"], check=True)
        return self

    def __exit__(self, *_):
        self.libc.setns(self.old, CLONE_NEWNET)
        os.close(self.old)


class SharedInput:
    """One descriptor for several writers of whole lines."""

    def __init__(self, descriptor):
        self.descriptor, self.lock = descriptor, threading.Lock()

    def write(self, lines):
        with self.lock:
            while lines:
                lines = lines[os.write(self.descriptor, lines):]

    def copy(self, stream, size=16 << 10):
        """Everything that `stream` has, in pieces of whole lines."""
        rest = b""
        while data := stream.read1(size):
            whole, newline, rest = (rest + data).rpartition(b"\n")
            self.write(whole + newline)


class Valve:
    """Carries bytes from one descriptor to another until it is shut, and again once it is opened."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.open = threading.Event()
        self.open.set()
        self.bytes = 0
        self.last = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            self.open.wait()
            data = os.read(self.source, 1 << 18)
            if not data:
                break
            self.bytes += len(data)
            self.last = time.monotonic()
            while data:
                data = data[os.write(self.target, data):]
        os.close(self.source)
        os.close(self.target)


def lease(node):
    """The line of a lease reply that was made now."""
    now = time.time()
    header = {"msg_id": str(uuid.uuid4()), "parent_msg_id": str(uuid.uuid4()), "timestamp": int(now * 1000)}
    route = {"source": "edgecontroller", "group": "resource", "operation": "response", "resource": f"node/{node}/kube-node-lease/lease/{node}"}
    return json.dumps({"header": header, "route": route, "content": {"sent": int(now * 1e6)}}, separators=(",", ":")).encode() + b"\n"
