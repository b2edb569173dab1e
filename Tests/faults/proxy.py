"""A TCP proxy between edges and hub, whose links can break as networks do: without a word, in one direction, or for a while."""

import asyncio
import contextlib
import socket
import struct

CHUNK = 64 << 10


class Link:
    """One edge's connection. `down` flows from hub to edge, `up` from edge to hub."""

    def __init__(self, edge_side, hub_side):
        self.edge_side, self.hub_side = edge_side, hub_side
        self.flows = {"down": asyncio.Event(), "up": asyncio.Event()}
        for flow in self.flows.values():
            flow.set()
        # A link that was tampered with: what the hub does to such a connection is no fault of the hub.
        self.is_touched = False
        # What one side does no longer reaches the other.
        self.is_cut = False

    def hold(self, *directions):
        """Nothing passes in these directions any more; what comes waits."""
        self.is_touched = True
        for direction in directions:
            self.flows[direction].clear()

    def release(self):
        if not self.is_cut:
            for flow in self.flows.values():
                flow.set()

    def cut(self):
        """Silence for good: neither side learns that the other is gone."""
        self.is_cut = True
        self.hold("down", "up")

    def abort(self):
        """Both sides get a reset."""
        self.is_touched = True
        for side in (self.edge_side, self.hub_side):
            _reset(side)

    def half(self):
        """The edge side gets a reset, the hub side silence."""
        self.cut()
        _reset(self.edge_side)


def _reset(writer):
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Proxy:
    """Listens on a free loopback port and joins each connection to the port that `target()` names at that moment."""

    def __init__(self, target):
        self.target = target
        self.by_edge_port, self.by_hub_port = {}, {}
        self.links = set()
        self._tasks = set()
        self._server = None
        self.port = None

    async def start(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, edge_reader, edge_writer):
        self._tasks.add(asyncio.current_task())
        try:
            hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self.target(), limit=CHUNK)
        except OSError:
            _reset(edge_writer)
            return
        except BaseException:
            _reset(edge_writer)
            raise
        finally:
            self._tasks.discard(asyncio.current_task())
        link = Link(edge_writer, hub_writer)
        edge_port, hub_port = edge_writer.get_extra_info("peername")[1], hub_writer.get_extra_info("sockname")[1]
        self.by_edge_port[edge_port] = link
        self.by_hub_port[hub_port] = link
        self.links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, "down", hub_reader, edge_writer)),
            asyncio.create_task(self._pump(link, "up", edge_reader, hub_writer)),
        ]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            self._tasks.difference_update(pumps)
            self.links.discard(link)
            for writer in (edge_writer, hub_writer):
                writer.transport.abort()
            if self.by_edge_port.get(edge_port) is link:
                del self.by_edge_port[edge_port]
            # The log line about the end of this connection may still come.
            asyncio.get_running_loop().call_later(30, self._forget, hub_port, link)

    def _forget(self, port, link):
        if self.by_hub_port.get(port) is link:
            del self.by_hub_port[port]

    @staticmethod
    async def _pump(link, direction, reader, writer):
        flow = link.flows[direction]
        try:
            while True:
                await flow.wait()
                data = await reader.read(CHUNK)
                await flow.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            # The other direction has nothing left to carry either.
            with contextlib.suppress(OSError):
                writer.transport.abort()

    async def close(self):
        self._server.close()
        for link in list(self.links):
            link.abort()
        for task in list(self._tasks):
            task.cancel()
