"""The whole hub with edges that speak the wire protocol through code that is not the hub's."""

import json
import os
import signal
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import edge
from conftest import BIN, ROOT, STAGES, WIRE, Hub, Process, config_map, leftovers, program, run, wait_until

pytestmark = pytest.mark.whole_hub


def event(name, node):
    return lambda message: message["route"]["operation"] == name and message["route"]["resource"] == f"node/{node}"


def recorded(name):
    return [json.loads(text) for text in (WIRE / name).read_text().splitlines()]


def test_a_message_goes_down_is_acknowledged_and_answers_come_up(hub):
    with hub.connect("edge-0") as node:
        hub.wait_message(event("connected", "edge-0"))
        hub.write(config_map("edge-0", "a", 7))
        (message,) = node.wait_count(1)
        assert message["route"]["resource"] == "default/configmap/a"
        assert "hub" not in message
        (sync,) = wait_until(lambda: hub.queue("syncs"), what="the acknowledgement")
        assert sync["metadata"] == {"name": "edge-0.uid-edge-0-a", "namespace": "default"}
        assert sync["status"]["objectResourceVersion"] == "7"
        assert hub.queue("list") == []
        sent = node.send_message("update", "default/podstatus/p", {"Name": "p"})
        up = hub.wait_message(lambda message: message["header"]["msg_id"] == sent)
        assert up["route"] == {
            "source": "edged", "group": "meta", "operation": "update", "resource": "node/edge-0/default/podstatus/p",
            "destination": "edgecontroller",
        }
        assert up["content"] == {"Name": "p"}
    gone = hub.wait_message(event("disconnected", "edge-0"))
    assert gone["content"]["client_id"] == "edge-0"
    # Acknowledgements and keepalives stay inside.
    assert {message["route"]["operation"] for message in hub.messages()} == {"connected", "update", "disconnected"}


DESTINATIONS = [
    ("edged", "meta", "update", "default/podstatus/p", "edgecontroller", "node/n/default/podstatus/p"),
    ("twin", "twin", "updated", "device/d1/twin/edge_updated", "devicecontroller", "node/n/device/d1/twin/edge_updated"),
    ("metaserver", "resource", "list", "default/x", "dynamiccontroller", "node/n/default/x"),
    ("eventbus", "user", "upload", "topic", "router", "node/n/topic"),
    ("taskmanager", "taskmanager", "upgrade", "t/x/node/y", "taskmanager", "t/x/node/y"),
    ("edged", "meta", "update", "n/volume/v1", "csi", "n/volume/v1"),
]


def test_each_message_finds_its_destination(hub):
    with hub.connect("n") as node:
        for number, (source, group, operation, resource, _, _) in enumerate(DESTINATIONS):
            node.send_message(operation, resource, "c", source=source, group=group, message_id=f"m{number}")
        node.send_message("update", "default/podstatus/p", "c", source="edgecontroller", message_id="forged")
        node.send_message("update", "default/podstatus/p", "c", message_id="last")
        hub.wait_message(lambda message: message["header"]["msg_id"] == "last")
    came = {message["header"]["msg_id"]: message["route"] for message in hub.messages()}
    for number, (_, _, _, _, destination, resource) in enumerate(DESTINATIONS):
        assert (came[f"m{number}"]["destination"], came[f"m{number}"]["resource"]) == (destination, resource)
    assert "forged" not in came, "a node may not speak for a cloud module"


def test_what_kubeedge_sent_to_its_edge_this_hub_sends(hub):
    """Recorded: 22 lines from controllers, and the 20 frames that KubeEdge's CloudHub made of them."""
    data = (WIRE / "downstream_stdin.jsonl").read_bytes()
    expected = recorded("ws_hub_to_edge.jsonl")[:19]  # the 20th answers a ping of the edge
    with hub.connect("edge-0") as node:
        hub.wait_message(event("connected", "edge-0"))
        hub.write(data)
        node.wait_count(len(expected))
        hub.wait_errors(b"line=22")
        wait_until(lambda: hub.queue("list") == [], what="all acknowledgements")
        node.send_message("ping", "x/y", "p", message_id="ping-1")
        answer = node.wait_count(20)[19]
    assert sorted(map(canonical, node.received[:19])) == sorted(map(canonical, expected))
    assert (answer["header"]["parent_msg_id"], answer["content"]) == ("ping-1", "ack")
    assert answer["route"] == recorded("ws_hub_to_edge.jsonl")[19]["route"]

    # KubeEdge drops three lines in silence: no version, a group that an edge does not acknowledge, no uid. Here each has a reason.
    rejects = [part.decode() for part in hub.errors if b"event=reject" in part]
    assert len(rejects) == 3
    for number, reason, text in zip((20, 21, 22), ("resourceversion", "group", "uid"), rejects):
        assert f"line={number} " in text and reason in text

    # On purpose the frame holds the bytes of the line, and not, as KubeEdge's, a new encoding of the decoded message.
    for text in data.splitlines()[:19]:
        content = text[text.index(b'"content"'):].decode()
        assert sum(frame.rstrip("\n").endswith(content) for frame in node.frames) >= 1
    # What is in the acknowledged lane leaves a version behind; the recorded edge's own acknowledgement of a `once` message does not.
    kept = {sync["spec"]["objectName"] for sync in hub.queue("syncs")}
    assert kept == {"cm-a", "pod-a", "big", "q", "edge-0", "dev-1", "sa", "x"}  # not `gone`, which was deleted


def test_what_an_edge_sent_to_kubeedge_this_hub_hands_on(hub):
    """Recorded: frames of an edge, and what KubeEdge's CloudHub handed to its modules."""
    with hub.connect("edge-1") as node:
        for text in (WIRE / "ws_edge_to_hub.jsonl").read_text().split("\n"):
            if text and '"two-1"' not in text:  # two values in one frame are no JSON: that closes the connection
                node.send_text(text + "\n")
        node.send_message("update", "default/podstatus/p", "c", message_id="last")
        hub.wait_message(lambda message: message["header"]["msg_id"] == "last")
    came = {message["header"]["msg_id"]: message for message in hub.messages() if message["route"]["source"] != "cloudhub"}
    expected = {}
    for entry in recorded("upstream_stdout.jsonl"):
        message = entry["message"]
        if message["route"].get("source") not in (None, "cloudhub"):
            expected[message["header"]["msg_id"]] = (entry["module"], message)
    # Differences on purpose: two values in a frame, keys in the wrong case, no route, and JSON that is no object are refused.
    for refused in ("up-1", "two-1"):
        expected.pop(refused)
    assert set(came) - {"last"} == set(expected)
    for identity, (module, message) in expected.items():
        mine = came[identity]
        assert mine["route"]["destination"] == module
        # The recording was made of a connection per node; this one node sends the frames of both.
        theirs = message["route"]["resource"].replace("node/edge-0/", "node/edge-1/")
        assert mine["route"]["resource"] == theirs
        assert mine["content"] == message["content"]


def canonical(message):
    return json.dumps(message, sort_keys=True)


CONTENTS = [
    b'{ "metadata" : {"uid":"u1" },"big":123456789012345678901234567890.10e+0400,\t"neg":-0.0 , "z":1,"a":[ ] }',
    b'{"metadata":{"uid":"u2"},"esc":"\\u0000\\/\\uD83D\\ude00\\b\\\\","k\\u0065y":"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\xe2\x80\xa8","":""}',
    b'{"metadata":{"uid":"u3"},"same":1,"same":2,"deep":' + b"[" * 400 + b"]" * 400 + b"}",
    b'{"metadata":{"uid":"u4"},"pad":"' + b"y" * (5 << 20) + b'"}',
]


def test_every_byte_of_content_arrives(hub):
    with hub.connect("n") as node:
        for number, content in enumerate(CONTENTS):
            hub.write(
                b'{"header":{"msg_id":"m%d", "resourceversion":"1","x":{"y":[ ]}} ,"route":{"group":"resource","operation":"update",'
                b'"source":"edgecontroller","resource":"node/n/d/configmap/c%d"},"content":%s , "more" : null }\n' % (number, number, content))
        node.wait_count(len(CONTENTS), timeout=60)
        for number, content in enumerate(CONTENTS):
            frame = next(frame for frame in node.frames if f'"msg_id":"m{number}"' in frame[:100])
            assert frame.encode() == (
                b'{"header":{"msg_id":"m%d", "resourceversion":"1","x":{"y":[ ]}} ,"route":{"group":"resource","operation":"update",'
                b'"source":"edgecontroller","resource":"d/configmap/c%d"},"content":%s , "more" : null }\n' % (number, number, content))
        # And upwards.
        up = '{"header":{"msg_id":"up-1"}, "route":{"source":"edged","operation":"update","resource":"d/p/q"},"content":%s , "more":1.0e2}'
        for content in CONTENTS:
            node.send_text(up % content.decode() + "\n")
        hub.wait_lines(lambda lines: sum(b'"up-1"' in part[:200] for part in lines) == len(CONTENTS), timeout=60)
        came = [part for part in hub.lines if b'"up-1"' in part[:200]]
        for content, part in zip(CONTENTS, came):
            assert part.endswith(b',"content":' + content + b' , "more":1.0e2}\n')


def test_messages_wait_for_a_node_that_is_away(hub):
    identity = hub.join("n")
    for version in range(1, 6):
        hub.write(config_map("n", "coalesced", version))
        hub.write(config_map("n", f"c{version}", version))
    waiting = wait_until(lambda: len(hub.queue("list")) == 6 and hub.queue("list"), what="six pending messages")
    assert waiting[0]["version"] == "5", "a newer version takes the place of the older one"
    with hub.connect("n", identity) as node:
        names = [message["content"]["metadata"]["name"] for message in node.wait_count(6)]
        assert names == ["coalesced", "c1", "c2", "c3", "c4", "c5"]
        wait_until(lambda: hub.queue("list") == [], what="the acknowledgements")
    hub.wait_message(event("disconnected", "n"))
    with hub.connect("n", identity) as node:
        hub.write(config_map("n", "c1", 1))  # the node has it
        hub.write(config_map("n", "c9", 1))
        assert node.wait_count(1)[0]["content"]["metadata"]["name"] == "c9"


def test_an_unacknowledged_message_comes_again_and_others_pass_it(tmp_path):
    hub = Hub(tmp_path / "hub", environment={"HUB_ACK_TIMEOUT": "0.3"})
    try:
        with hub.connect("n", acknowledges=False) as node:
            hub.write(config_map("n", "stubborn", 1))
            node.wait_count(1)
            hub.write(config_map("n", "easy", 1))
            easy = node.wait(lambda messages: any(m["content"]["metadata"]["name"] == "easy" for m in messages))[-1]
            node.acknowledge(easy)
            node.wait(lambda messages: sum(m["content"]["metadata"]["name"] == "stubborn" for m in messages) >= 3)
            assert sum(m["content"]["metadata"]["name"] == "easy" for m in node.received) == 1
            node.acknowledge(node.received[0])
            wait_until(lambda: hub.queue("list") == [], what="the acknowledgement")
        assert hub.stop() == 0
    finally:
        hub.kill()


@pytest.mark.parametrize("stage", [*STAGES, "certs"])
def test_delivery_goes_on_after_kill_9_of(stage, hub):
    identity = hub.join("n")
    node = hub.connect("n", identity)
    hub.write(config_map("n", "before", 1))
    node.wait_count(1)
    first = hub.pid(stage)
    os.kill(first, signal.SIGKILL)
    hub.wait_errors(b"event=stage_died")
    wait_until(lambda: hub.pid(stage) != first, what="the restart")
    if stage == "wsserve":
        node.wait_closed()
        old = hub.wss  # the port file may still be the old one
        wait_until(lambda: listening(hub) or None, what=f"another port than {old}")
        node = hub.connect("n", identity)
    if stage == "certs":
        wait_until(lambda: listening(hub, "https.port") or None, what="the certificate service")
        hub.join("m")
    hub.write(b"\n")
    hub.write(config_map("n", "after", 1))
    node.wait(lambda messages: any(m["content"]["metadata"]["name"] == "after" for m in messages), timeout=30)
    sent = node.send_message("update", "default/podstatus/p", {"stage": stage})
    hub.wait_message(lambda message: message["header"]["msg_id"] == sent)
    wait_until(lambda: hub.queue("list") == [], what="the acknowledgements")
    if stage != "wsserve":
        assert node.close_code is None, "the connection outlives every other stage"
    node.close()


def listening(hub, name="wss.port"):
    import socket

    try:
        with socket.create_connection(("127.0.0.1", int((hub.run / name).read_text())), 1):
            return True
    except (OSError, ValueError):
        return False


def test_the_queue_killed_while_messages_wait_loses_none(hub):
    identity = hub.join("n")
    count = 500
    for number in range(count):
        hub.write(config_map("n", f"c{number}", 1))
    wait_until(lambda: len(hub.queue("list")) == count, what="all on disk")
    first = hub.pid("queue")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: hub.pid("queue") != first, what="the restart")
    with hub.connect("n", identity) as node:
        names = {m["content"]["metadata"]["name"] for m in node.wait_count(count, timeout=60)}
        assert len(names) == count


def test_a_second_connection_replaces_the_first(hub):
    identity = hub.join("n")
    first = hub.connect("n", identity)
    hub.wait_message(event("connected", "n"))
    with hub.connect("n", identity) as second:
        first.wait_closed()
        hub.write(config_map("n", "a", 1))
        second.wait_count(1)
    assert first.received == []
    hub.wait_lines(lambda lines: sum(b'"disconnected"' in part for part in lines) >= 2)
    events = [m["route"]["operation"] for m in hub.messages()]
    assert events == ["connected", "disconnected", "connected", "disconnected"]


def test_who_may_join_and_connect(hub):
    token = hub.token()
    digest, bearer = token.split(".", 1)
    ca = ssl.DER_cert_to_PEM_cert(edge.fetch_ca(hub.https))
    key = ec.generate_private_key(ec.SECP256R1())

    def refused(status, node, csr, **credentials):
        with pytest.raises(edge.JoinRefused) as caught:
            edge.request_certificate(hub.https, ca, node, csr, **credentials)
        assert caught.value.status == status

    csr = edge.signing_request("n", key)
    refused(401, "n", csr)
    refused(401, "n", csr, token=bearer[:-4] + "AAAA")
    with pytest.raises(edge.JoinRefused):
        edge.request_certificate(hub.https, ca, "other", csr, token=bearer)
    for subject in ({"organisation": "system:masters"}, {"common_name": "admin"}):
        with pytest.raises(edge.JoinRefused):
            edge.request_certificate(hub.https, ca, "n", edge.signing_request("n", key, **subject), token=bearer)
    with pytest.raises(ValueError, match="the token names"):
        edge.join("n", hub.https, "0" * len(digest) + "." + bearer, hub.directory / "x")

    identity = hub.join("n")
    # A node renews its own certificate with the one it has, and no other node's.
    der = edge.request_certificate(hub.https, ca, "n", csr, identity=identity)
    assert edge.x509.load_der_x509_certificate(der).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ) == key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(edge.JoinRefused):
        edge.request_certificate(hub.https, ca, "m", edge.signing_request("m", key), identity=identity)
    # The header must name the node of the certificate.
    with pytest.raises(Exception, match="403"):
        hub.connect("n", identity, header="m")
    # A stranger's certificate does not get through TLS.
    stranger = edge.Identity("n", identity.ca, *self_signed(hub.directory, key))
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError, Exception)):
        hub.connect("n", stranger)
    assert not any(event("connected", "n")(m) for m in hub.messages())


def self_signed(directory, key):
    import datetime

    x509 = edge.x509
    name = x509.Name([x509.NameAttribute(edge.NameOID.ORGANIZATION_NAME, "system:nodes"), x509.NameAttribute(edge.NameOID.COMMON_NAME, "system:node:n")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1)).sign(key, edge.hashes.SHA256())
    )
    paths = Path(directory) / "stranger.crt", Path(directory) / "stranger.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    return paths


def test_many_nodes_get_each_their_own(hub):
    nodes = {f"n{number}": hub.connect(f"n{number}") for number in range(8)}
    for version in range(50):
        for name in nodes:
            hub.write(config_map(name, f"c{version}", 1))
    for name, node in nodes.items():
        messages = node.wait_count(50, timeout=60)
        assert {m["content"]["metadata"]["uid"] for m in messages} == {f"uid-{name}-c{version}" for version in range(50)}
    wait_until(lambda: hub.queue("list") == [], what="all acknowledgements")
    for node in nodes.values():
        node.close()


def test_the_swarm_gets_everything_once(hub, tmp_path):
    token = tmp_path / "token"
    token.write_text(hub.token())
    count = 2000
    generated = run([program("hub-swarm"), "generate", "--nodes", "20", "--count", str(count)])
    done = {}

    def sink():
        done["sink"] = run(
            [
                program("hub-swarm"), "sink", "--hub", f"127.0.0.1:{hub.wss}", "--certs-url", f"https://127.0.0.1:{hub.https}",
                "--token-file", str(token), "--nodes", "20", "--count", str(count), "--duration", "60",
            ],
            timeout=90,
        )

    thread = threading.Thread(target=sink)
    thread.start()
    hub.write(generated.stdout)
    thread.join(100)
    figures = json.loads(done["sink"].stdout)
    assert done["sink"].returncode == 0, done["sink"].stderr
    assert (figures["messages"]["distinct"] if isinstance(figures.get("messages"), dict) else figures["distinct"]) == count
    wait_until(lambda: hub.queue("list") == [], what="all acknowledgements")
    assert len(hub.queue("syncs")) == count


def test_bad_lines_between_good_ones(hub, tmp_path):
    corpus = ROOT.parent / "shared" / "json-corpus"
    files = sorted(corpus.glob("*.json")) if corpus.is_dir() else []
    parts, bad = [], []
    for number in range(len(files) + 3):
        parts.append(config_map("n", f"c{number}", 1))
        if number < len(files):
            for piece in files[number].read_bytes().split(b"\n"):
                parts.append(piece + b"\n")
                if piece:
                    bad.append(len(parts))
        elif number == len(files):
            parts.append(b"x" * (64 << 20) + b"\n")
            bad.append(len(parts))
        elif number == len(files) + 1:
            parts.append(os.urandom(1 << 20).replace(b"\n", b" ") + b"\n")
            bad.append(len(parts))
    count = len(files) + 3
    parts.append(config_map("n", "cut", 1)[:-20])
    bad.append(len(parts))
    with hub.connect("n") as node:
        hub.write(b"".join(parts))
        hub.close_input()
        names = {m["content"]["metadata"]["name"] for m in node.wait_count(count, timeout=60)}
        assert names == {f"c{number}" for number in range(count)}
        hub.wait_errors(b"line=%d " % bad[-1])
        refused = [int(text.split(b"line=")[1].split()[0]) for text in hub.errors if b"event=reject" in text]
        assert refused == bad
        # What a node sends amiss harms nobody either.
        node.send_text("[]")
        node.send_text('{"hub":{"kind":"ack"},"header":{},"route":{}}')
        sent = node.send_message("update", "default/podstatus/p", "fine")
        hub.wait_message(lambda message: message["header"]["msg_id"] == sent)


def test_the_script_that_wires_by_hand(tmp_path):
    directory = tmp_path / "hub"
    hub = Process(
        [str(ROOT / "pipelines" / "cloudhub.sh"), str(directory)],
        env={**os.environ, "HUB_BIN_DIR": str(BIN), "HUB_WSS": "127.0.0.1:0", "HUB_HTTPS": "127.0.0.1:0"},
    )
    try:
        ports = [int(wait_until(lambda: name.exists() and name.read_text(), what=str(name))) for name in (directory / "wss.port", directory / "https.port")]
        token = run([program("hub-certs"), "token", "--dir", str(directory)]).stdout.decode()
        with edge.Edge("n", ports[0], edge.join("n", ports[1], token, tmp_path / "edges")) as node:
            hub.write(config_map("n", "a", 1))
            node.wait_count(1)
            sent = node.send_message("update", "default/podstatus/p", "c")
            hub.wait_message(lambda message: message["header"]["msg_id"] == sent)
            hub.close_input()
            time.sleep(0.2)
        hub.wait_message(event("disconnected", "n"))
        assert hub.stop() == 0, hub.errors
    finally:
        hub.kill()
        assert leftovers(tmp_path) == []
