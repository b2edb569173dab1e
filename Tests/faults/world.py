"""What all parts of a run share: the rules that were broken, counts, the moments of kills, and what controllers saw."""

import json
import re
import time
from collections import Counter

MOST_EXAMPLES = 5
# A hub may only close a connection for these reasons when the run tampered with it.
BLAMES = ("slow reader", "keepalive timeout", "pong timeout")
# Stages that carry what edges say; what they hold when they are killed is lost.
UPSTREAM = ("wsserve", "keepalive", "up")
MEMBER = re.compile(rb'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


class World:
    def __init__(self, kinds):
        self.kinds = kinds
        self.begun = time.monotonic()
        self.counts = Counter()
        # Rule to how often it was broken, and the first examples.
        self.breaches, self.examples = Counter(), {}
        self.kills = []
        self.recoveries = {}
        self._unrecovered = []
        # (node, connection) to [(number, time it was seen)].
        self.seen = {}
        # No more faults; and edges that end do not connect again.
        self.is_calm = self.is_over = False
        self.proxy = self.producer = self.hub = None

    @property
    def now(self):
        return time.monotonic() - self.begun

    def count(self, name, by=1):
        self.counts[name] += by

    def broken(self, rule, text):
        self.breaches[rule] += 1
        examples = self.examples.setdefault(rule, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(f"t={self.now:.2f} {text}")

    # Kills and what follows them

    def killed(self, stage):
        self.kills.append((time.monotonic(), stage))
        if stage in ("down", "queue", "wsserve"):
            self._unrecovered.append(self.kills[-1])

    def delivered(self, edge, path, version):
        """An edge has stored an object: kills before the message was made are recovered from."""
        message = self.producer.note_delivery(edge.name, path, version)
        self.count("delivered")
        if message is None or message.times > 1:
            return
        still = []
        for at, stage in self._unrecovered:
            if message.at > at:
                self.recoveries.setdefault(stage, []).append(message.delivered - at)
            else:
                still.append((at, stage))
        self._unrecovered = still

    # The hub's output

    def on_output(self, line):
        if not line:
            return
        try:
            message = json.loads(line)
            route = message["route"]
        except (ValueError, KeyError, TypeError):
            self.count("torn_output")
            return
        if "hub" in message:
            self.broken("envelope", f"controllers see an envelope: {line[:200]!r}")
        if route["source"] == "cloudhub":
            self.count(f"event_{route['operation']}")
            return
        content = message["content"]
        if not isinstance(content, dict) or "connection" not in content:
            self.broken("upstream", f"controllers got what no edge sent: {line[:200]!r}")
            return
        self.count("upstream_seen")
        node = content["node"]
        if not route["resource"].startswith(f"node/{node}/"):
            self.broken("foreign", f"{route['resource']} came from {node}")
        self.seen.setdefault((node, content["connection"]), []).append((content["number"], time.monotonic()))
        if route["operation"] == "query":
            self.producer.answer(node, route["resource"].split("/", 2)[2], message["header"]["msg_id"])

    # The hub's log

    def on_log(self, line):
        members = {name.decode(): value.strip(b'"').decode(errors="replace") for name, value in MEMBER.findall(line)}
        event = members.get("event")
        if event == "stage_died":
            self.count(f"died_{members['stage']}")
            if members["stage"] in ("down", "queue"):
                self.producer.resend()
            if members["status"] != "137":
                self.broken("crash", f"a stage ended by itself: {line.decode(errors='replace')}")
        elif event in ("store_failed", "reject", "store_recovered"):
            self.count(event)
        elif event == "disconnected" and members.get("reason") in BLAMES:
            self._closed(members)

    def _closed(self, members):
        self.count("closed_" + members["reason"].replace(" ", "_"))
        link = self.proxy.by_hub_port.get(int(members["remote"].rsplit(":", 1)[1]))
        if link is not None and not link.is_touched:
            self.broken("unjust", f"{members['node']} was closed for '{members['reason']}', but its link was never touched")
