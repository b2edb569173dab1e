"""The faults themselves, carried out on the running hub."""

import asyncio
import errno
import os
import signal
import sys

import isolation

DISK = 96 << 20


class Injector:
    def __init__(self, world, hub, proxy, producer, edges, disk):
        self.world, self.hub, self.proxy, self.producer, self.edges = world, hub, proxy, producer, edges
        # The mounted directory that can be filled, or None.
        self.disk = disk
        self._fills = 0
        self._tasks = set()

    async def run(self, plan):
        for fault in plan:
            await asyncio.sleep(max(0, fault.at - self.world.now))
            print(fault, file=sys.stderr, flush=True)
            self.world.count(f"fault_{fault.kind}")
            task = asyncio.create_task(getattr(self, f"_{fault.kind}")(**fault.detail | {"seconds": fault.detail.get("for")}))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        while self._tasks:
            await asyncio.gather(*self._tasks)

    # Processes

    def _signal(self, descriptor, number):
        try:
            signal.pidfd_send_signal(descriptor, number)
            return True
        except ProcessLookupError:
            return False

    async def _kill(self, stage, seconds=None):
        descriptor = self.hub.open_stage(stage)
        if descriptor is None:
            return self.world.count("kill_missed")
        try:
            if self._signal(descriptor, signal.SIGKILL):
                self.world.killed(stage)
        finally:
            os.close(descriptor)

    async def _stop(self, stage, seconds, **_):
        descriptor = self.hub.open_stage(stage)
        if descriptor is None:
            return self.world.count("stop_missed")
        try:
            self._signal(descriptor, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            self._signal(descriptor, signal.SIGCONT)
            os.close(descriptor)

    async def _consumer(self, seconds, **_):
        self.hub.stall()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.hub.resume()

    # Disk

    async def _disk(self, seconds, **_):
        if self.disk is None:
            return
        self._fills += 1
        path = self.disk / f"fill-{self._fills}"
        until = asyncio.get_running_loop().time() + seconds
        try:
            # Again and again: what the queue frees in the meantime is taken as well.
            with open(path, "wb", buffering=0) as file:
                while asyncio.get_running_loop().time() < until:
                    self._fill(file)
                    await asyncio.sleep(0.05)
        finally:
            path.unlink()

    @staticmethod
    def _fill(file):
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError as problem:
                if problem.errno != errno.ENOSPC:
                    raise
                size //= 16

    # Connections

    async def _cut(self, how, edges, seconds, **_):
        links = [(self.edges[number], self.edges[number].link) for number in edges]
        links = [(edge, link) for edge, link in links if link is not None]
        self.world.count(f"cut_{how}", len(links))
        for edge, link in links:
            if how in ("abort", "half"):
                getattr(link, how)()
            elif how == "silent":
                link.cut()
            else:
                link.hold("down" if how == "deaf" else "up")
        await asyncio.sleep(seconds)
        for edge, link in links:
            if how == "silent" and edge.link is link:
                # The edge notices by itself at last.
                edge.reconnect("takeover")
            elif how in ("deaf", "mute"):
                link.release()

    async def _herd(self, how, share, **_):
        for edge in self.edges[: int(len(self.edges) * share)]:
            edge.reconnect(how)

    async def _flood(self, edge, count, size, **_):
        self.producer.flood(self.edges[edge].name, count, size)

    # End

    def calm(self):
        """Every link that still lives works again; edges on dead ones connect anew."""
        for edge in self.edges:
            if edge.link is not None and edge.link.is_cut:
                edge.reconnect("abort")
        for link in list(self.proxy.links):
            link.release()


def mount_disk(path):
    """A small file system at `path`. Returns why there is none, or None."""
    try:
        isolation.mount("tmpfs", path, "tmpfs", data=f"size={DISK}")
    except OSError as problem:
        return str(problem)
    return None
