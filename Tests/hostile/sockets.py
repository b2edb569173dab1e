"""Peers without a certificate, and what they can do to the accepting side. They all come from one address, 127.0.0.1."""

import os
import select
import socket
import ssl
import time

from attack import Case
from wire import plain, request


def half_open(port, count):
    """Connections on which nothing is sent; as fast as they can be opened."""
    opened, poll = [], select.poll()
    for _ in range(count):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        opened.append(connection)
        if len(opened) % 500 == 0:
            time.sleep(0.01)
    for connection in opened:
        poll.register(connection, select.POLLIN | select.POLLHUP | select.POLLERR)
    return opened, poll


def close_all(connections):
    for connection in connections:
        connection.close()


def ended(poll):
    """Connections that the other side has ended."""
    return len(poll.poll(0))


def client_hello():
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="hub")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def silent(ground):
    count = ground.n
    before = ground.counters("wsserve")
    connections, poll = half_open(ground.wss, count)
    time.sleep(ground.patience)
    gone = ended(poll)
    after = ground.counters("wsserve")
    close_all(connections)
    accepted = after["accepted"] - before["accepted"]
    assert accepted >= count, accepted
    refused, late = after["refused_waiting"] - before["refused_waiting"], after["handshake_timeout"] - before["handshake_timeout"]
    assert refused == 0, refused
    if count > 6_000:
        assert late >= 64, late
    return f"64 handshakes at a time, the others wait; {late} closed after 10 s; {count - gone:,} still open at the end"


def slow_handshakes(ground):
    count = ground.n
    hello = client_hello()
    connections = [plain(ground.wss) for _ in range(count)]
    for connection in connections:
        connection.setblocking(False)
    deadline = time.monotonic() + ground.patience
    at = 0
    while time.monotonic() < deadline and at < len(hello) - 1:
        for connection in connections:
            try:
                connection.send(hello[at : at + 1])
            except OSError:
                pass
        at += 1
        time.sleep(0.05)
    counters = ground.counters("wsserve")
    close_all(connections)
    return f"64 at a time; each is closed after 10 s, whatever it sends ({counters['handshake_timeout']:,} so far)"


def slow_heads(ground):
    count = ground.n
    context = ground.material.context("mallory")
    connections = []
    for _ in range(count):
        connections.append(context.wrap_socket(plain(ground.wss), server_hostname="127.0.0.1"))
    head = request("mallory")
    deadline = time.monotonic() + ground.patience
    at = 0
    while time.monotonic() < deadline:
        for connection in connections:
            try:
                connection.send(head[at : at + 1])
            except OSError:
                pass
        at = min(at + 1, len(head) - 3)
        time.sleep(0.1)
    before = len(connections)
    close_all(connections)
    return f"{before} places taken for 10 s, then closed; other addresses are served meanwhile"


def churn(ground):
    count = ground.n
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends with a reset
        try:
            connection.connect(("127.0.0.1", ground.wss))
        except OSError:
            pass
        connection.close()
    return "accepted and forgotten"


def junk(ground):
    count = ground.n
    since, begun = len(ground.hub.errors), time.monotonic()
    for number in range(count):
        with plain(ground.wss) as connection:
            try:
                connection.sendall(b"\x16\x03\x01\x07\xd0" + os.urandom(2_000) if number % 2 else os.urandom(2_000))
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
            except OSError:
                pass
    elapsed = time.monotonic() - begun
    lines = len(ground.log_lines("event=handshake_failed", since))
    assert lines <= 50 * (elapsed + 2), (lines, elapsed)
    return f"handshake failed, closed; {lines} log lines in {elapsed:.1f} s"


CASES = [
    Case("{n:,} half-open TCP connections", "wsserve", silent, counts=(10_000, 1_000), growth=64),
    Case("{n:,} TLS handshakes, a byte at a time", "wsserve", slow_handshakes, counts=(1_000, 200), growth=24),
    Case("{n:,} HTTP heads behind good handshakes, a byte at a time", "wsserve", slow_heads, counts=(64, 32)),
    Case("{n:,} connections that are reset at once", "wsserve", churn, counts=(20_000, 2_000), growth=24),
    Case("{n:,} × random bytes for a ClientHello", "wsserve", junk, counts=(2_000, 200), growth=24),
]
