"""Edge nodes that remember what they got, and misbehave on demand."""

import asyncio
import contextlib
import json
import random
import time
import uuid

from websockets.asyncio.client import connect

import edge as wire
from producer import filling

KEEPALIVE = 1.0


class Connection:
    """One connection of an edge: what it sent upstream, and how it ended."""

    def __init__(self, number):
        self.number = number
        self.sent = []
        # None while it lives, "closed" after an orderly closing handshake, else "cut".
        self.ended = None


class FaultEdge:
    def __init__(self, name, identity, world, seed):
        self.name, self.world = name, world
        self.random = random.Random(f"{seed} edge {name}")
        self.tls = identity.tls()
        # The objects that it stores: path to (version, uid).
        self.objects = {}
        # The highest version that came for a path, whatever became of it, and in what message.
        self.highest = {}
        self.deletions = set()
        self.onces = set()
        self.questions = set()
        self.connections = []
        self.socket = None
        self.duplicates = self.refused = self.late = self.twice = self.withheld = self.made_up = self.replies = 0
        self._change = None
        self._tasks = set()

    # Connections

    async def run(self):
        while not self.world.is_over:
            try:
                socket = await connect(
                    f"wss://127.0.0.1:{self.world.proxy.port}/{wire.PROJECT}/{self.name}/events", ssl=self.tls,
                    additional_headers={"Node_id": self.name, "Project_id": wire.PROJECT, "Connectionuse": "msg"}, compression=None,
                    proxy=None, user_agent_header="Go-http-client/1.1", max_size=64 << 20, open_timeout=6, close_timeout=5,
                    ping_interval=None)
            except Exception:  # whatever a dying hub answers
                self.world.count("connect_failed")
                await asyncio.sleep(self.random.uniform(0.05, 0.5))
                continue
            await self._serve(socket)

    async def _serve(self, socket):
        connection = Connection(len(self.connections))
        self.connections.append(connection)
        self.world.count("connections")
        self.socket, self._change = socket, asyncio.get_running_loop().create_future()
        link = self.world.proxy.by_edge_port.get(socket.local_address[1])
        work = [
            asyncio.create_task(self._receive(socket)),
            asyncio.create_task(self._keep_alive(socket)),
            asyncio.create_task(self._speak(socket, connection)),
        ]
        await asyncio.wait([work[0], self._change], return_when=asyncio.FIRST_COMPLETED)
        how = self._change.result() if self._change.done() else "gone"
        self.socket = None
        for task in work[1:] if how == "close" else work:
            task.cancel()
        await asyncio.wait(work[1:] if how == "close" else work, timeout=5)
        is_orderly = False
        if how == "close":
            # What the edge said before an orderly end has been said: the hub answers the close frame after it.
            with contextlib.suppress(Exception):
                await socket.close()
            is_orderly = socket.close_code == 1000 and link is not None and not link.is_touched
            work[0].cancel()
        elif how == "abort":
            socket.transport.abort()
        elif how in ("takeover", "silent"):
            # The old connection stays open for a while, nobody reads it any more.
            asyncio.get_running_loop().call_later(self.random.uniform(3, 20), socket.transport.abort)
        connection.ended = "closed" if is_orderly else "cut"
        if how == "gone":
            socket.transport.abort()
            await asyncio.sleep(self.random.uniform(0, 0.3))

    def reconnect(self, how):
        """Ends the present connection: `close`, `abort`, `takeover` (a new one while the old lives)."""
        if self.socket is not None and not self._change.done():
            self._change.set_result(how)

    @property
    def link(self):
        return self.world.proxy.by_edge_port.get(self.socket.local_address[1]) if self.socket is not None else None

    async def _keep_alive(self, socket):
        with contextlib.suppress(Exception):
            while True:
                await socket.send(wire.Edge.text("keepalive", "node", "ping", "websocket", "resource")[1])
                await asyncio.sleep(KEEPALIVE)

    async def _speak(self, socket, connection):
        """Messages of the edge, numbered per connection."""
        with contextlib.suppress(Exception):
            while True:
                await asyncio.sleep(self.random.uniform(0.3, 1.5))
                path, operation, content = "default/podstatus/p", "update", {}
                if "replies" in self.world.kinds and self.objects and self.random.random() < 0.2:
                    path, operation = self.random.choice(sorted(self.objects)), "query"
                number = len(connection.sent)
                content = {"node": self.name, "connection": connection.number, "number": number}
                if self.random.random() < 0.05:
                    content["fill"] = "x" * self.random.randrange(200_000)
                message_id, text = wire.Edge.text(operation, path, content, "edged", "meta")
                if operation == "query":
                    self.questions.add(message_id)
                # Counted before: what is cut off in the middle of sending counts as sent over a connection that ended.
                connection.sent.append(time.monotonic())
                await socket.send(text)

    async def _receive(self, socket):
        with contextlib.suppress(wire.ConnectionClosed):
            async for frame in socket:
                for answer in self.take(frame):
                    await socket.send(answer)

    def _later(self, seconds, text):
        """Sends a frame over the connection of that time, which may be another one."""

        async def send():
            await asyncio.sleep(seconds)
            with contextlib.suppress(Exception):
                if self.socket is not None:
                    await self.socket.send(text)

        task = asyncio.create_task(send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Messages

    def take(self, frame):
        """Takes a message as EdgeCore does, by its path; returns what to answer at once."""
        message = json.loads(frame)
        route, header = message["route"], message["header"]
        if "hub" in message:
            self.world.broken("envelope", f"{self.name} sees the envelope of {header.get('msg_id')}")
        if header["msg_id"].startswith("once-"):
            return self._once(message)
        if header["msg_id"].startswith("bad-"):
            self.world.broken("refused", f"{self.name} got {header['msg_id']}, which has to be refused")
            return []
        if header["msg_id"].startswith("reply-"):
            self.replies += 1
            if header.get("parent_msg_id") not in self.questions:
                self.world.broken("reply", f"{self.name} got an answer to a question of someone else")
        return self._object(message, route, header)

    def _once(self, message):
        identity = message["header"]["msg_id"]
        if message["content"]["node"] != self.name:
            self.world.broken("foreign", f"{self.name} got {identity} of {message['content']['node']}")
        if identity in self.onces:
            self.world.broken("once", f"{self.name} got {identity} twice")
        self.onces.add(identity)
        return []

    def _object(self, message, route, header):
        path, version, data = route["resource"], int(header["resourceversion"]), message["content"]["data"]
        identity = header["msg_id"]
        if data["node"] != self.name:
            self.world.broken("foreign", f"{self.name} got {identity} of {data['node']}")
            return []
        if data["fill"] != filling(data["uid"], version, len(data["fill"])):
            self.world.broken("content", f"the content of {identity} for {self.name} is not what was sent")
        highest, what = self.highest.get(path, (0, ""))
        if version < highest:
            self.world.broken("order", f"{self.name} {path}: {route['operation']} {identity} of version {version} comes after {what} of version {highest}")
        if version == highest and not identity.startswith("reply-"):
            self.duplicates += 1
        if version > highest:
            self.highest[path] = version, f"{route['operation']} {identity}"
        chance = self.random.random() if "acks" in self.world.kinds and not self.world.is_calm else 1.0
        if chance < 0.01:
            self.refused += 1
            return [wire.Edge.acknowledgement(message, "error", "not now")]
        if route["operation"] == "delete":
            self.objects.pop(path, None)
            self.deletions.add((path, version))
        else:
            self.objects[path] = version, data["uid"]
        self.world.delivered(self, path, version)
        answer = wire.Edge.acknowledgement(message)
        if chance < 0.02:
            self.withheld += 1
            return []
        if chance < 0.05:
            self.late += 1
            self._later(self.random.uniform(0.1, 4), answer)
            return []
        if chance < 0.08:
            self.twice += 1
            self._later(self.random.uniform(0, 4), answer)
        elif chance < 0.085:
            self.made_up += 1
            made_up = dict(message, header=dict(header, msg_id=str(uuid.UUID(int=self.random.getrandbits(128)))))
            return [wire.Edge.acknowledgement(made_up), answer]
        return [answer]
