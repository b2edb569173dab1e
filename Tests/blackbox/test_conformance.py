"""Conformance of hub-wsserve to RFC 6455, by the families of the Autobahn test suite, with the outcome that the RFC demands.

All cases share one server, so each one also shows that those before it did no harm. Each case is frames, and what must come of them:
the messages that come out, the pongs, and a close code or a connection that lives.
"""

import asyncio
import json
import queue
import struct

import pytest
import websockets
from conformance_kit import Peer, close, message, raw, smallest
from wsserve_kit import PATIENCE, Server

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("conformance"), "--max-message", str(LIMIT), "--ping", "0", "--log-level", "notice")
    yield running
    try:
        assert running.counter("sessions", 0) == 0
        running.stop()
    finally:
        running.kill()


numbers = iter(range(1_000_000))


@pytest.fixture
def peer(server):
    made = []

    def connect(chop=None):
        made.append(Peer(server, f"edge-{next(numbers)}", chop))
        return made[-1]

    yield connect
    for each in made:
        each.socket.close()


def lines_of(server, node):
    """What node's session brought out, as bytes, up to its end; lines of other nodes are none of this case."""
    lines = []
    while True:
        try:
            line = server.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"the session of {node} has no end") from None
        hub = json.loads(line)["hub"]
        if hub.get("node") != node:
            continue
        if hub["kind"] == "up":
            lines.append(line)
        elif hub["event"] == "disconnected":
            return lines


def payload_of(line):
    """The line without its envelope: the bytes that the node sent."""
    return b"{" + line.split(b"},", 1)[1].rstrip(b"\n")


def play(server, peer, frames, messages=(), pongs=(), code="lives", chop=None):
    """Sends `frames`; checks pongs, the end, and what came out."""
    edge = peer(chop)
    edge.send(b"".join(frames))
    if code == "lives":
        for pong in pongs:
            edge.expect_pong(pong)
        edge.expect_life()
        edge.leave()
    else:
        edge.expect_close(code)
    assert [payload_of(line) for line in lines_of(server, edge.node)] == list(messages)


# 1, 9: payloads of all sizes, whole and in pieces (RFC 6455, 5.2: three forms of length)


SIZES = [24, 125, 126, 127, 128, 65_535, 65_536, 65_537, 262_144, LIMIT]


@pytest.mark.parametrize("opcode", [1, 2], ids=["text", "binary"])
@pytest.mark.parametrize("size", SIZES)
def test_every_form_of_length(server, peer, opcode, size):
    text = smallest() if size == 24 else message(size)
    assert len(text) == size
    play(server, peer, [raw(opcode, text)], [text])


@pytest.mark.parametrize("chop", [1, 64, 128, 512, 1024, 2048])
@pytest.mark.parametrize("size", [125, 126, 4096, 65_536])
def test_frames_that_come_in_pieces(server, peer, size, chop):
    if chop == 1 and size > 4096:
        size = 8192
    text = message(size)
    play(server, peer, [raw(1, text)], [text], chop=chop)


@pytest.mark.parametrize("fragment", [1, 7, 64, 256, 1024, 4096])
@pytest.mark.parametrize("opcode", [1, 2], ids=["text", "binary"])
def test_messages_in_many_frames(server, peer, opcode, fragment):
    text = message(16_384 if fragment > 7 else 2048)
    pieces = [text[at : at + fragment] for at in range(0, len(text), fragment)]
    frames = [raw(0 if at else opcode, piece, fin=at == len(pieces) - 1) for at, piece in enumerate(pieces)]
    play(server, peer, frames, [text])


def test_ten_thousand_small_messages(server, peer):
    texts = [message(number=number) for number in range(10_000)]
    play(server, peer, [raw(1, text) for text in texts], texts)


def test_the_mask_is_what_the_client_says(server, peer):
    """5.3: any key, also one that changes nothing."""
    texts = [message(size) for size in range(128, 160)]
    keys = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x01", b"\x80\x7f\xaa\x55"]
    play(server, peer, [raw(1, text, key=keys[at % 5]) for at, text in enumerate(texts)], texts)


# 2: pings and pongs (5.5.2, 5.5.3)


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", bytes([0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF]), b"\xfe" * 125])
@pytest.mark.parametrize("chop", [None, 1])
def test_a_ping_is_answered_with_its_payload(server, peer, payload, chop):
    play(server, peer, [raw(9, payload)], pongs=[payload], chop=chop)


def test_a_ping_longer_than_125_bytes(server, peer):
    play(server, peer, [raw(9, b"\xfe" * 126)], code=1002)


@pytest.mark.parametrize("payload", [b"", b"unsolicited pong payload", b"x" * 125])
def test_an_unsolicited_pong_is_ignored(server, peer, payload):
    play(server, peer, [raw(10, payload), raw(9, b"p")], pongs=[b"p"])


def test_of_many_pings_at_once_the_last_is_answered(server, peer):
    """5.5.3 allows to answer only the most recent one; the order is kept."""
    edge = peer()
    edge.send(b"".join(raw(9, b"payload-%d" % number) for number in range(10)))
    seen = []
    while not seen or seen[-1] != 9:
        seen.append(int(bytes(edge.receive().payload).split(b"-")[1]))
    assert seen == sorted(set(seen))
    edge.expect_life()
    edge.leave()
    lines_of(server, edge.node)


def test_pings_one_by_one_are_all_answered(server, peer):
    edge = peer()
    for number in range(10):
        edge.send(raw(9, b"%d" % number))
        edge.expect_pong(b"%d" % number)
    edge.leave()
    lines_of(server, edge.node)


# 3: reserved bits (5.2)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("chop", [None, 1])
def test_reserved_bits_in_data(server, peer, rsv, chop):
    text = message()
    play(server, peer, [raw(1, text), raw(1, text, rsv=rsv), raw(1, text)], [text], code=1002, chop=chop)


@pytest.mark.parametrize("opcode", [0, 2, 8, 9, 10])
def test_reserved_bits_in_other_frames(server, peer, opcode):
    play(server, peer, [raw(opcode, b"", rsv=4)], code=1002)


# 4: reserved opcodes (5.2)


@pytest.mark.parametrize("payload", [b"", b"reserved"])
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes(server, peer, opcode, payload):
    text = message()
    play(server, peer, [raw(1, text), raw(opcode, payload), raw(9, b"")], [text], code=1002)


@pytest.mark.parametrize("opcode", [3, 11])
def test_reserved_opcodes_byte_by_byte(server, peer, opcode):
    play(server, peer, [raw(opcode, b"reserved")], code=1002, chop=1)


# 5: fragmentation (5.4)


def split(text, opcode=1):
    half = len(text) // 2
    return raw(opcode, text[:half], fin=False), raw(0, text[half:])


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_a_control_frame_is_never_fragmented(server, peer, opcode):
    play(server, peer, [raw(opcode, b"", fin=False), raw(0, b"")], code=1002)


@pytest.mark.parametrize("chop", [None, 1])
def test_a_message_in_two_frames(server, peer, chop):
    text = message()
    play(server, peer, split(text), [text], chop=chop)


@pytest.mark.parametrize("chop", [None, 1])
def test_a_ping_between_fragments_is_answered_at_once(server, peer, chop):
    text = message()
    first, second = split(text)
    play(server, peer, [first, raw(9, b"between"), second], [text], [b"between"], chop=chop)
    edge = peer(chop)
    edge.send(first + raw(9, b"now"))
    edge.expect_pong(b"now")
    edge.send(second)
    edge.leave()
    assert len(lines_of(server, edge.node)) == 1


def test_pongs_and_empty_fragments_between_fragments(server, peer):
    text = message()
    first, second = split(text)
    play(server, peer, [first, raw(10, b"x"), raw(0, b"", fin=False), raw(0, b"", fin=False), second], [text])


def test_a_close_frame_between_fragments(server, peer):
    play(server, peer, [split(message())[0], close(1000)], code=1000)


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("chop", [None, 1])
def test_a_continuation_of_nothing(server, peer, fin, chop):
    play(server, peer, [raw(0, b"non-continuation", fin=fin), raw(1, message())], code=1002, chop=chop)


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_after_the_end_of_a_message(server, peer, fin):
    text = message()
    play(server, peer, [*split(text), raw(0, b"more", fin=fin), raw(1, text)], [text], code=1002)


@pytest.mark.parametrize("opcode", [1, 2])
def test_a_message_within_a_message(server, peer, opcode):
    play(server, peer, [split(message())[0], raw(opcode, message())], code=1002)


# 6: UTF-8 (8.1), in text; binary frames hold JSON too, which is UTF-8 (RFC 8259, 8.1)


VALID = {
    "greek": "κόσμε", "kosme with a combining mark": "κο\u0301σμε", "first of each length": "\u0080\u0800\U00010000",
    "last of each length": "\u007f\u07ff\uffff\U0010ffff", "around the surrogates": "\ud7ff\ue000\ufffd", "no characters": "\ufffe\uffff\U0001fffe\ufdd0",
    "NUL, escaped by JSON": "\x00", "mixed": "Hello-µ@ßöäüàá-UTF-8!! 𐑖𐑣𐑰 𤭢 ☃",
}  # fmt: skip
INVALID = {
    "lone continuation": b"\x80", "continuations": b"\x80\xbf\x80", "lone start of 2": b"\xc2", "lone start of 3": b"\xe2", "start of 3, 1 more": b"\xe2\x82",
    "start of 4, 2 more": b"\xf0\x9f\x98", "start of 5": b"\xf8\x88\x80\x80\x80", "start of 6": b"\xfc\x84\x80\x80\x80\x80", "FE": b"\xfe", "FF": b"\xff",
    "overlong slash, 2": b"\xc0\xaf", "overlong slash, 3": b"\xe0\x80\xaf", "overlong slash, 4": b"\xf0\x80\x80\xaf", "overlong NUL": b"\xc0\x80",
    "overlong, largest of 2": b"\xc1\xbf", "overlong, largest of 3": b"\xe0\x9f\xbf", "overlong, largest of 4": b"\xf0\x8f\xbf\xbf",
    "high surrogate": b"\xed\xa0\x80", "low surrogate": b"\xed\xbf\xbf", "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80", "past U+10FFFF": b"\xf4\x90\x80\x80",
    "F5": b"\xf5\x80\x80\x80", "good text around bad": "κόσμε".encode() + b"\xed\xa0\x80" + b"edited",
}  # fmt: skip


def with_content(content):
    return b'{"header":{"msg_id":"u"},"route":{"resource":"a/b"},"content":"' + content + b'"}'


def at_every_byte(text):
    return [raw(0 if at else 1, text[at : at + 1], fin=at == len(text) - 1) for at in range(len(text))]


@pytest.mark.parametrize("name", VALID)
def test_valid_text_whole_in_octets_and_split_within_a_character(server, peer, name):
    text = message(content=VALID[name])
    cut = text.index(b'"content":"') + 12
    split_within = [raw(1, text[:cut], fin=False), raw(0, text[cut:])]
    play(server, peer, [raw(1, text), raw(2, text), *at_every_byte(text), *split_within], [text] * 4)


@pytest.mark.parametrize("name", INVALID)
def test_invalid_text_closes_with_1007(server, peer, name):
    text = with_content(INVALID[name])
    play(server, peer, [raw(1, text)], code=1007)
    play(server, peer, at_every_byte(text), code=1007)
    play(server, peer, [raw(2, text)], code=1007)


def test_text_that_ends_within_a_character(server, peer):
    play(server, peer, [raw(1, smallest() + b"\xce", fin=False), raw(0, b"")], code=1007)


@pytest.mark.parametrize("text", [b"", b" ", b"Hello", b"{", b'{"header":{},"route":{}', b"\xef\xbb\xbf" + smallest(), smallest() * 2])
def test_text_that_is_no_json_closes_with_1007(server, peer, text):
    """The hub's own contract, with the code that 7.4.1 has for data that is not consistent with the type of message."""
    play(server, peer, [raw(1, text)], code=1007)


# 7: close (5.5.1, 7.1, 7.4)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", [b"", b"going away", b"*" * 123, "κόσμε".encode()])
def test_close_codes_that_may_be_sent(server, peer, code, reason):
    play(server, peer, [close(code, reason)], code=code)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
@pytest.mark.parametrize("reason", [b"", b"reason"])
def test_close_codes_that_may_not_be_sent(server, peer, code, reason):
    play(server, peer, [close(code, reason)], code=1002)


def test_an_empty_close_frame(server, peer):
    """7.1.5: no code came, so 1000 or none may be answered; the hub says 1000."""
    play(server, peer, [raw(8)], code=1000)


@pytest.mark.parametrize(
    "frame, code",
    [
        (raw(8, b"\x03"), 1002),
        (raw(8, struct.pack("!H", 1000) + b"*" * 124), 1002),
        (raw(8, struct.pack("!H", 1000) + b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"), 1007),
        (raw(8, struct.pack("!H", 1000) + b"\xff"), 1007),
    ],
    ids=["one byte", "reason too long", "reason with a surrogate", "reason with FF"],
)
def test_malformed_close_frames(server, peer, frame, code):
    play(server, peer, [frame], code=code)


@pytest.mark.parametrize("after", [raw(1, message()), raw(9, b"x"), close(1000), raw(3, b"x"), b"junk" * 1000], ids=["data", "ping", "close", "reserved", "junk"])
def test_nothing_counts_after_a_close_frame(server, peer, after):
    """5.5.1: data after a close frame is not processed; what came before it is."""
    text = message()
    play(server, peer, [raw(1, text), close(1000), after], [text], code=1000)


def test_the_server_ends_tcp_at_once_after_the_close_handshake(server, peer):
    """7.1.1: whichever side began it."""
    edge = peer()
    edge.send(close(1000))
    assert edge.expect_close(1000, answers=False) < 0.5
    lines_of(server, edge.node)
    edge = peer()
    edge.send(raw(3, b"") + close(1002))
    assert edge.expect_close(1002, answers=False) < 0.5
    lines_of(server, edge.node)


def test_a_peer_that_goes_on_sending_can_read_why_it_was_closed(server, peer):
    """7.1.1, 7.1.7: what still comes is thrown away until the peer's close frame, so that TCP does not destroy the hub's."""
    for bad, code in [(raw(1, b"", length=LIMIT + 1), 1009), (raw(3, b"x"), 1002), (raw(1, b"nonsense"), 1007)]:
        edge = peer()
        edge.send(bad)
        rest = LIMIT + 1 if code == 1009 else 0
        for _ in range(16):
            edge.send(b"x" * (rest // 16) if rest else raw(1, message(LIMIT // 16)))
        edge.send(b"x" * (rest % 16) + close(code))
        assert edge.expect_close(code, answers=False) < 0.5
        assert lines_of(server, edge.node) == []


# Lengths and masks (5.1, 5.2), limits


@pytest.mark.parametrize(
    "frame",
    [
        raw(1, message(), masked=False),
        raw(9, b"", masked=False),
        raw(8, struct.pack("!H", 1000), masked=False),
        raw(1, message(125), form=2),
        raw(1, message(125), form=8),
        raw(1, message(126), form=8),
        raw(1, message(65_535), form=8),
        raw(9, b"abc", form=2),
        raw(1, b"", form=2, length=0),
        raw(1, b"", form=8, length=0),
        raw(1, b"", form=8, length=1 << 63),
        raw(1, b"", form=8, length=(1 << 64) - 1),
        raw(9, b"", form=8, length=1 << 63),
    ],
    ids=[
        "text unmasked", "ping unmasked", "close unmasked", "125 in 16 bits", "125 in 64 bits", "126 in 64 bits", "65535 in 64 bits",
        "ping in 16 bits", "0 in 16 bits", "0 in 64 bits", "top bit", "all bits", "ping with top bit",
    ],
)  # fmt: skip
def test_masks_and_lengths(server, peer, frame):
    play(server, peer, [frame], code=1002)


@pytest.mark.parametrize("length", [LIMIT + 1, 1 << 30, 1 << 32, (1 << 63) - 1])
def test_a_length_past_the_limit_is_refused_before_the_payload(server, peer, length):
    play(server, peer, [raw(1, b"", length=length, form=8)], code=1009)


def test_fragments_past_the_limit(server, peer):
    text = message(LIMIT)
    play(server, peer, [raw(1, text[: LIMIT // 2], fin=False), raw(0, text[LIMIT // 2 :] + b" ")], code=1009)


# With whole clients that are not ours


def test_websockets_is_content(server):
    """The client checks the handshake and each frame of the hub; its own fragments and pings come as it makes them."""

    async def run():
        node = f"edge-{next(numbers)}"
        async with websockets.connect(
            f"ws://127.0.0.1:{server.port}/p/{node}/events", additional_headers={"node_id": node, "project_id": "p"}, open_timeout=PATIENCE
        ) as edge:
            # It offers permessage-deflate, which the hub does not take.
            assert edge.response.headers.get("Sec-WebSocket-Extensions") is None
            text = message(100_000)
            await edge.send([text[:10].decode(), text[10:70_000].decode(), text[70_000:].decode()])
            await edge.send(text)
            await asyncio.wait_for(await edge.ping(), PATIENCE)
            await edge.send(message(operation="ping").decode())
            answer = json.loads(await asyncio.wait_for(edge.recv(), PATIENCE))
            assert answer["header"]["parent_msg_id"] == "m-0"
        assert edge.close_code == 1000
        return node, [text, text]

    node, expected = asyncio.run(run())
    assert [payload_of(line) for line in lines_of(server, node)] == expected
