"""A node with a good certificate that abuses the WebSocket."""

import socket
import struct
import time

from attack import Case
from wire import frame, message

MIB = 1 << 20


def pour(link, pieces, seconds=5, pause=0.0):
    """Sends until the hub ends the connection or the time is over; returns the bytes that it took."""
    sent, deadline = 0, time.monotonic() + seconds
    link.socket.settimeout(1)
    try:
        for piece in pieces:
            if time.monotonic() > deadline:
                break
            link.send(piece)
            sent += len(piece)
            if pause:
                time.sleep(pause)
    except (OSError, socket.timeout):
        pass
    return sent


def announced_gibibyte(ground):
    link = ground.link()
    link.send(frame(length=1 << 30))
    code = link.close_code()
    assert code == 1009, code
    sent = pour(link, [b"x" * 65_536] * 16_384, seconds=5, pause=0.01)
    assert sent < 64 * MIB, sent
    return f"closed with 1009 on the announcement; of what still came {sent // MIB} MiB were thrown away before the socket was closed"


def endless_fragments(ground):
    link = ground.link()
    pieces = [frame(b'{"header":{"x":"', fin=False)] + [frame(b"x" * MIB, 0, fin=False)] * 1024
    sent = pour(link, pieces, seconds=20)
    code = link.close_code()
    assert code == 1009, code
    return f"closed with 1009 once they passed 32 MiB; what still came, {max(0, sent // MIB - 32)} MiB, was thrown away"


def tiny_fragments(ground):
    count = ground.n
    link = ground.link()
    text = message(content="y" * (count - 170), message_id="tiny")
    pieces = [frame(text[at : at + 1], 0 if at else 1, fin=False) for at in range(len(text))]
    begun = time.monotonic()
    link.send(b"".join(pieces) + frame(b"", 0))
    ground.hub.wait_message(lambda line: line["header"].get("msg_id") == "tiny", timeout=60)
    taken = time.monotonic() - begun
    assert link.is_served()
    link.close()
    return f"taken as one message of {len(text):,} bytes in {taken:.1f} s; the connection lives"


def empty_fragments(ground):
    count = ground.n
    link = ground.link()
    text = message(message_id=f"empty-{count}")
    link.send(frame(text[:20], fin=False))
    for _ in range(count // 10_000):
        link.send(frame(b"", 0, fin=False) * 10_000)
    link.send(frame(text[20:], 0))
    ground.hub.wait_message(lambda line: line["header"].get("msg_id") == f"empty-{count}", timeout=60)
    link.close()
    return "taken as one message"


def dribbled(ground):
    count = ground.n
    link = ground.link()
    text = frame(message(content="z" * (count - 170), message_id="dribbled"))
    for at in range(len(text)):
        link.send(text[at : at + 1])
        time.sleep(0.001)
    ground.hub.wait_message(lambda line: line["header"].get("msg_id") == "dribbled")
    link.close()
    return "taken as one message"


def deep(ground):
    depth = ground.n
    link = ground.link()
    before = ground.counters("wsserve")["refused_frame"]
    for text in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        link.send(frame(b'{"header":{},"route":{},"content":' + text + b"}"))
    assert link.is_served(timeout=30)
    assert ground.counters("wsserve")["refused_frame"] - before == 2
    link.close()
    return "refused (deeper than 512) and counted; the connection lives"


def ping_flood(ground):
    count = ground.n
    link = ground.link()
    ping = frame(b"p" * 125, 9) * 1000
    sent = pour(link, [ping] * (count // 1000), seconds=20)
    pongs = 0
    link.send_message("ping", message_id="after")
    link.socket.settimeout(20)
    while True:
        opcode, payload = link.read()
        pongs += opcode == 10
        if opcode == 1:
            break
    link.close()
    # RFC 6455, 5.5.3: of pings that wait only the last must be answered.
    return f"{sent // 131:,} pings taken, {pongs:,} answered: of those that come together the last; the connection lives"


def question_flood(ground):
    count = ground.n
    link = ground.link()
    question = frame(message("ping", message_id="q" * 400))
    before = ground.counters("wsserve")
    sent = pour(link, [question * 100] * (count // 100), seconds=20)
    deadline = time.monotonic() + 20
    while (after := ground.counters("wsserve"))["dropped_answer"] == before["dropped_answer"] and time.monotonic() < deadline:
        time.sleep(0.1)
    dropped, answered = (after[name] - before[name] for name in ("dropped_answer", "answered"))
    link.socket.close()
    assert dropped > 0, (sent, dropped, answered)
    return f"{answered:,} answers waited, within --max-unsent; {dropped:,} were not made, and counted"


def noise(ground):
    count = ground.n
    link = ground.link()
    before, since, begun = ground.counters("wsserve"), len(ground.hub.errors), time.monotonic()
    for _ in range(count // 1000):
        link.send(frame(b'{"x":"\\u001b[31m\\n level=error event=forged"}') * 1000)
    assert link.is_served(timeout=60)
    elapsed = time.monotonic() - begun
    refused = ground.counters("wsserve")["refused_frame"] - before["refused_frame"]
    lines = len(ground.log_lines("event=reject", since))
    assert refused == count, refused
    assert lines <= 20 * (elapsed + 2), (lines, elapsed)
    assert not ground.log_lines("\x1b", since)
    link.close()
    return f"all refused and counted; {lines} log lines in {elapsed:.1f} s; the connection lives"


def close_flood(ground):
    link = ground.link()
    sent = pour(link, [frame(struct.pack("!H", 1000), 8) * 10_000])
    assert link.close_code() == 1000
    return f"answered once, closed; {sent:,} bytes were sent"


def half_messages(ground):
    links = [ground.link(ground.join(f"half-{number}")) for number in range(12)]
    for link in links:
        pour(link, [frame(b'{"header":{"x":"', fin=False)] + [frame(b"x" * MIB, 0, fin=False)] * 30, seconds=20)
    closed = ground.counters("wsserve")["closed_max_buffered"]
    assert closed >= 4, closed
    for link in links:
        link.socket.close()
    return f"the largest ones closed with 1013, {closed} of 12, so that all together stay below --max-buffered"


CASES = [
    Case("WebSocket message of 1 GiB, announced, then sent slowly", "wsserve", announced_gibibyte),
    Case("WebSocket message of 1 GiB in fragments of 1 MiB", "wsserve", endless_fragments, growth=120),
    Case("{n:,} fragments of one byte", "wsserve", tiny_fragments, counts=(100_000, 10_000)),
    Case("{n:,} empty fragments in one message", "wsserve", empty_fragments, counts=(1_000_000, 50_000)),
    Case("a frame of {n:,} bytes that comes a byte at a time", "wsserve", dribbled, counts=(3_000, 300)),
    Case("JSON nested {n:,} deep", "wsserve", deep, counts=(5_000_000, 100_000), growth=100),
    Case("{n:,} pings, no pong read", "wsserve", ping_flood, counts=(1_000_000, 50_000)),
    Case("{n:,} questions, no answer read", "wsserve", question_flood, counts=(200_000, 40_000), growth=24),
    Case("{n:,} frames that are no message, with control characters for the log", "wsserve", noise, counts=(100_000, 10_000)),
    Case("10,000 close frames at once", "wsserve", close_flood),
    Case("12 nodes that each leave a message of 30 MiB unfinished", "wsserve", half_messages, growth=450, is_long=True),
]
