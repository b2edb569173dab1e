"""Clients of the HTTPS port that take their time, or bring too much."""

import asyncio
import socket
import time

from attack import Case
from sockets import close_all, ended, half_open
from wire import plain

MB = 1_000_000


def open_tls(ground):
    return ground.material.context().wrap_socket(plain(ground.https), server_hostname="127.0.0.1")


def head(ground, *more):
    bearer = ground.token.split(".", 1)[1]
    return ("\r\n".join(["GET /edge.crt HTTP/1.1", "Host: hub", "NodeName: mallory", f"Authorization: Bearer {bearer}", *more]) + "\r\n").encode()


async def many(ground, count, first, drip, seconds):
    """`count` connections that send `first` after their handshake and then a byte of `drip` now and then. Returns what ended how."""
    context = ground.material.context()
    outcomes = dict.fromkeys(["no handshake", "answered", "answered and closed", "closed", "open"], 0)

    async def one():
        state = ""
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", ground.https, ssl=context, server_hostname="127.0.0.1", ssl_handshake_timeout=seconds)
        except OSError:
            outcomes["no handshake"] += 1
            return
        try:
            writer.write(first)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                try:
                    if not await asyncio.wait_for(reader.read(4096), 0.5):
                        outcomes["answered and closed" if state else "closed"] += 1
                        return
                    state = "answered"
                except asyncio.TimeoutError:
                    writer.write(drip)
            outcomes[state or "open"] += 1
        except OSError:
            outcomes["answered and closed" if state else "closed"] += 1
        finally:
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(count)))
    return outcomes


def told(outcomes):
    return ", ".join(f"{count} {what}" for what, count in outcomes.items() if count)


def slowloris(ground):
    outcomes = asyncio.run(many(ground, ground.n, head(ground), b"X", ground.patience + 2))
    return f"250 served at a time, cut off after 10 s: {told(outcomes)}"


def slow_bodies(ground):
    first = head(ground, "Content-Length: 1000000", "") + b"x" * 900_000
    outcomes = asyncio.run(many(ground, ground.n, first, b"x", ground.patience + 2))
    return f"bodies bounded by --max-bodies (503), the others cut off after 10 s (408): {told(outcomes)}"


def idle(ground):
    """Keep-alive connections that ask for nothing more."""
    first = b"GET /ca.crt HTTP/1.1\r\nHost: hub\r\n\r\n"
    outcomes = asyncio.run(many(ground, ground.n, first, b"", ground.patience + 2))
    return f"answered, closed after 10 s without a request: {told(outcomes)}"


def send_body(connection, pieces):
    """Sends until the other side ends it; returns the bytes that left, and the status."""
    sent, answer = 0, b""
    connection.settimeout(5)
    try:
        for piece in pieces:
            connection.sendall(piece)
            sent += len(piece)
    except (OSError, socket.timeout):
        pass
    try:
        answer = connection.recv(4096)
    except OSError:
        pass
    connection.close()
    return sent, answer.split(b"\r\n")[0].decode()


def announced_body(ground):
    connection = open_tls(ground)
    connection.sendall(head(ground, f"Content-Length: {100 * MB}", ""))
    status = connection.recv(4096).split(b"\r\n")[0].decode()
    assert " 413 " in status, status
    sent, _ = send_body(connection, [b"x" * 65_536] * 1600)
    return f"413 on the head; {sent // MB} MB that came all the same were thrown away"


def chunked_body(ground):
    connection = open_tls(ground)
    connection.sendall(head(ground, "Transfer-Encoding: chunked", ""))
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    connection.sendall(piece * 20)
    status = connection.recv(4096).split(b"\r\n")[0].decode()
    assert " 413 " in status, status
    sent, _ = send_body(connection, [piece] * 1600)
    return f"413 after 1 MiB; {sent // MB} MB that came all the same were thrown away"


def silent(ground):
    count = ground.n
    before = ground.counters("certs")
    connections, poll = half_open(ground.https, count)
    time.sleep(ground.patience)
    gone = ended(poll)
    after = ground.counters("certs")
    close_all(connections)
    refused = after["refused_connections"] - before["refused_connections"]
    if count > 2_000:
        assert refused >= count - 2_500, refused
    return f"250 served at a time, 1,000 wait; {refused:,} closed at once; {count - gone:,} still open at the end"


CASES = [
    Case("slowloris: {n:,} HTTPS heads that never end", "certs", slowloris, counts=(1_000, 100), growth=64),
    Case("{n:,} CSR bodies of 1 MB that never end", "certs", slow_bodies, counts=(200, 20), growth=160),
    Case("{n:,} idle keep-alive connections", "certs", idle, counts=(1_000, 100), growth=64),
    Case("CSR body of 100 MB, announced by Content-Length", "certs", announced_body),
    Case("CSR body of 100 MB, chunked", "certs", chunked_body, growth=24),
    Case("{n:,} half-open connections to the HTTPS port", "certs", silent, counts=(5_000, 500), growth=32),
]
