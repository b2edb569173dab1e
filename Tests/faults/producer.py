"""A cloud controller that loses nothing: it keeps what it sent until the hub's receipt says that its fate is durable.

Objects have a name (the path on the edge) and, each time they are made anew, another uid. As in etcd every change of any object has a
higher version. What this controller relies on is what the hub promises (`hub-queue --receipts`):
- What has no receipt when `hub-dispatch down` or `hub-queue` dies is sent again, of each object only its newest message.
- An object is made anew under the same name only once the receipt of its deletion is there.
"""

import hashlib
import json
import random
import time

KINDS = (("v1", "ConfigMap", "configmap"), ("v1", "Secret", "secret"), ("v1", "Pod", "pod"), ("apps/v1", "Deployment", "deployment"))
NAMESPACES = ("default", "kube-system", "null")
NAMES = 14
FATES = ("accepted", "superseded", "stale", "refused")
# Versions are longer than 64 bits hold, and gain a digit during the run.
FIRST_VERSION = 10**20 - 2000


def filling(uid, version, size):
    """Text that names what it belongs to, so that a mixed-up or cut content is noticed."""
    unit = hashlib.sha256(f"{uid} {version}".encode()).hexdigest()
    return (unit * (size // len(unit) + 1))[:size]


class Sent:
    """One message of the controller."""

    __slots__ = ("message_id", "edge", "path", "uid", "version", "operation", "line", "at", "times", "fates", "delivered")

    def __init__(self, message_id, edge, path, uid, version, operation, line):
        self.message_id, self.edge, self.path, self.uid = message_id, edge, path, uid
        self.version, self.operation, self.line = version, operation, line
        self.at, self.times, self.fates, self.delivered = time.monotonic(), 1, [], None

    @property
    def deletes(self):
        return self.operation == "delete"


class Producer:
    def __init__(self, seed, edges, write):
        self.random = random.Random(f"{seed} producer")
        self.edges = edges
        self.write = write
        self.version = FIRST_VERSION
        # (edge, path) to the newest message about it.
        self.newest = {}
        # All messages whose receipt may still come.
        self.waiting = {}
        # (edge, path) to the versions of deletions that the hub has taken.
        self.deleted = {}
        self.made = self.resent = self.bad = self.onces = self.replies = self.torn_receipts = self.unknown_receipts = 0
        self.fates = dict.fromkeys(FATES, 0)
        self.refusals = []
        self._receipt_part = b""
        self._receipts = None

    # Messages

    def path(self, index):
        _, _, kind = KINDS[index % len(KINDS)]
        return f"{NAMESPACES[index % len(NAMESPACES)]}/{kind}/o{index}"

    def step(self):
        """One more message, about any object of any edge."""
        chance = self.random.random()
        edge = self.edges[self.random.randrange(len(self.edges))]
        if chance < 0.01:
            return self._bad(edge)
        if chance < 0.06:
            return self._once(edge)
        return self.change(edge, self.random.randrange(NAMES))

    def change(self, edge, index, size=None):
        path = self.path(index)
        last = self.newest.get((edge, path))
        chance, other = self.random.random(), self.random.random()
        if size is None:
            size = self.random.choice((50, 300, 300, 1500, 1500, 6000)) if other < 0.98 else self.random.randrange(50_000, 300_000)
        if last is None or last.deletes:
            if last is not None and not last.fates:
                return None
            return self._send(edge, path, index, self._uid(), "insert", size)
        if chance < 0.72:
            return self._send(edge, path, index, last.uid, "update", size)
        if chance < 0.84:
            return self._send(edge, path, index, last.uid, "update", size, {"deletionTimestamp": "2026-01-01T00:00:00Z"})
        return self._send(edge, path, index, last.uid, "delete", 0, with_uid=chance < 0.95)

    def flood(self, edge, count, size):
        """Objects of their own, many at once."""
        for number in range(count):
            path = self.path(1000 + number)
            last = self.newest.get((edge, path))
            uid = last.uid if last is not None and not last.deletes else self._uid()
            self._send(edge, path, 1000 + number, uid, "update" if last else "insert", size)

    def _uid(self):
        return f"{self.random.getrandbits(128):032x}"

    def _send(self, edge, path, index, uid, operation, size, more=None, with_uid=True):
        self.version += 1
        version = self.version
        line = self._line(edge, path, index, uid, operation, version, size, more, with_uid)
        message = Sent(f"m{version}", edge, path, uid, version, operation, line)
        self.newest[edge, path] = message
        self.waiting[message.message_id] = message
        self.made += 1
        self.write(line)
        return message

    @staticmethod
    def _line(edge, path, index, uid, operation, version, size, more, with_uid, message_id=None, parent=None):
        api, kind, _ = KINDS[index % len(KINDS)]
        namespace, _, name = path.split("/")
        metadata = {"name": name, **({} if namespace == "null" else {"namespace": namespace}), **(more or {})}
        if with_uid:
            metadata["uid"] = uid
        header = {"msg_id": message_id or f"m{version}", "timestamp": int(time.time() * 1000), "resourceversion": str(version)}
        if parent:
            header["parent_msg_id"] = parent
        route = {"source": "edgecontroller", "group": "resource", "operation": operation, "resource": f"node/{edge}/{path}"}
        content = {"apiVersion": api, "kind": kind, "metadata": metadata, "data": {"node": edge, "uid": uid, "fill": filling(uid, version, size)}}
        return json.dumps({"header": header, "route": route, "content": content}, separators=(",", ":")).encode() + b"\n"

    def _bad(self, edge):
        """A line that must be refused, and must not harm its neighbours."""
        self.bad += 1
        good = self._line(edge, self.path(0), 0, "bad", "update", 1, 100, None, True, message_id=f"bad-{self.bad}")
        self.write(
            self.random.choice(
                (good[:-20] + b"\n", b"not json\n", good.replace(b'"resourceversion":"1"', b'"resourceversion":"1x"'),
                 good.replace(b'"uid":"bad"', b'"other":"bad"'), good.replace(b'"route":', b'"ruote":'))))

    def _once(self, edge):
        self.onces += 1
        header = {"msg_id": f"once-{self.onces}", "timestamp": int(time.time() * 1000)}
        route = {"source": "edgecontroller", "group": "resource", "operation": "response", "resource": f"node/{edge}/kube-node-lease/lease/{edge}"}
        self.write(json.dumps({"header": header, "route": route, "content": {"node": edge}}, separators=(",", ":")).encode() + b"\n")

    def answer(self, edge, path, question):
        """The state of the object, as the answer to a question of the edge."""
        last = self.newest.get((edge, path))
        # The hub sends answers about pods in lane `once`, beside the order of the path.
        if last is None or last.deletes or "/pod/" in path:
            return
        self.replies += 1
        index = int(path.rsplit("/o", 1)[1])
        self.write(
            self._line(edge, path, index, last.uid, "response", last.version, 100, None, True, message_id=f"reply-{self.replies}", parent=question))

    # Receipts

    def read_receipts(self, path):
        """Takes what has been added to the file of receipts."""
        if self._receipts is None:
            try:
                self._receipts = open(path, "rb", buffering=0)
            except FileNotFoundError:
                return
        while data := self._receipts.read(1 << 20):
            *lines, self._receipt_part = (self._receipt_part + data).split(b"\n")
            for line in lines:
                if line:
                    self._receipt(line)

    def _receipt(self, line):
        try:
            receipt = json.loads(line)
            message_id, fate = receipt["msg_id"], receipt["fate"]
            self.fates[fate] += 1
        except (ValueError, KeyError):
            # A kill may cut a line short.
            self.torn_receipts += 1
            return
        message = self.waiting.get(message_id)
        if message is None:
            if not message_id.startswith(("reply-", "bad-")):
                self.unknown_receipts += 1
            return
        message.fates.append(fate)
        key = message.edge, message.path
        if fate == "refused":
            self.refusals.append(receipt)
        elif message.deletes:
            self.deleted.setdefault(key, set()).add(message.version)
        if self.newest[key] is not message:
            del self.waiting[message_id]

    def outstanding(self):
        """Newest messages without a receipt."""
        return [message for message in self.newest.values() if not message.fates]

    def resend(self):
        """After a death of a stage that may have taken messages with it."""
        for message in sorted(self.outstanding(), key=lambda message: message.version):
            message.times += 1
            self.resent += 1
            self.write(message.line)
        # What is no longer the newest of its object need not be known any more.
        for message_id in [key for key, message in self.waiting.items() if self.newest[message.edge, message.path] is not message]:
            del self.waiting[message_id]

    def note_delivery(self, edge, path, version):
        """Returns the message if it is the newest of its object and came for the first time."""
        message = self.newest.get((edge, path))
        if message is None or message.version != version or message.delivered is not None:
            return None
        message.delivered = time.monotonic()
        return message
