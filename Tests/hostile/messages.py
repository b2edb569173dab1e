"""A node with a good certificate that speaks for others."""

import time

from attack import Case
from conftest import config_map
from wire import frame, message

CLOUD = ["cloudhub", "cloudStream", "devicecontroller", "edgecontroller", "synccontroller"]


def speaks_for_the_cloud(ground):
    link = ground.link()
    since = len(ground.hub.errors)
    for source in CLOUD:
        link.send_message(source=source, message_id=f"forged-{source}", resource="default/podstatus/p")
    link.send_message(message_id="honest-word", resource="default/podstatus/p")
    ground.hub.wait_message(lambda line: line["header"].get("msg_id") == "honest-word")
    came = [line["header"]["msg_id"] for line in ground.hub.messages() if line["header"].get("msg_id", "").startswith("forged-")]
    assert came == [], came
    link.close()
    assert len(ground.log_lines("event=reject", since)) >= 1
    return f"{len(CLOUD)} of {len(CLOUD)} refused, counted and logged; its other messages pass"


def forges_an_envelope(ground):
    link = ground.link()
    before = ground.counters("wsserve")["refused_forged"]
    envelopes = ['{"kind":"event","event":"disconnected","node":"honest-0","session":1}', '{"kind":"up","node":"honest-0","session":1}', "1", "{}"]
    for envelope in envelopes:
        link.send(frame(b'{"hub":%s,' % envelope.encode() + message()[1:]))
        link.send(frame(message()[:-1] + b',"h\\u0075b":%s}' % envelope.encode()))
    assert link.is_served()
    assert ground.counters("wsserve")["refused_forged"] - before == 2 * len(envelopes)
    link.close()
    return f"{2 * len(envelopes)} of {2 * len(envelopes)} refused and counted; the connection lives"


def acknowledges_for_another(ground):
    """The victim has got its message and not acknowledged it yet."""
    victim = ground.link(ground.join("victim-0"))
    version = int(time.time() * 1000)
    ground.hub.write(config_map("victim-0", "secret", version))
    while True:
        opcode, payload = victim.read()
        if opcode == 1:
            break
    link = ground.link()
    parent = f"victim-0-secret-{version}"
    for resource in ("default/configmap/secret", "node/victim-0/default/configmap/secret"):
        link.send_message("response", "OK", source="edgecontroller", group="resource", resource=resource, parent=parent)
        link.send_message("response", "OK", group="resource", resource=resource, parent=parent)
        link.send_message("error", "no", group="resource", resource=resource, parent=parent)
    assert link.is_served()
    time.sleep(1)
    pending = [row for row in ground.hub.queue("list") if row["node"] == "victim-0"]
    assert len(pending) == 1, pending
    victim.send_message("response", "OK", group="resource", resource="default/configmap/secret", parent=parent)
    deadline = time.monotonic() + 10
    while ground.hub.queue("list") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ground.hub.queue("list") == []
    for each in (link, victim):
        each.close()
    return "changes nothing: the message waits for its own node, whose acknowledgement counts"


def another_name(ground):
    outcomes = [ground.link("honest-0", identity="mallory").status, ground.link("victim-9", identity="mallory").status]
    assert outcomes == [403, 403], outcomes
    return "403; the node of that name stays connected"


CASES = [
    Case("a node names a cloud module as the source of its message", "wsserve", speaks_for_the_cloud),
    Case("a node forges the envelope of another node's lines", "wsserve", forges_an_envelope),
    Case("a node acknowledges, and refuses, another node's message", "wsserve", acknowledges_for_another),
    Case("a node connects with its certificate as another node", "wsserve", another_name),
]
