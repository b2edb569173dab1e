"""What goes wrong, and when: everything about it follows from the seed."""

import random
from dataclasses import dataclass, field

STAGES = ("down", "queue", "wsserve", "keepalive", "up", "certs")
KINDS = {
    "kill": "SIGKILL of a stage, of several at once, or of all of them one after the other",
    "stop": "SIGSTOP of a stage for up to five seconds",
    "consumer": "the reader of the hub's output stops reading",
    "disk": "the file system with the queue's state is full for some seconds (root only)",
    "cut": "links that break without FIN, go silent, or stop in one direction",
    "herd": "all edges connect again at once, some of them while their old connection lives",
    "acks": "edges that acknowledge late, twice, not at all, with unknown ids, or refuse",
    "replies": "answers to edges' questions beside the updates of the same objects",
    "flood": "hundreds of objects for one edge at once, and large objects",
}

# The launcher gives a stage up at its fifth death within a minute.
KILL_SPACING = 21.0
# Shorter than the keepalive timeout of the run: what stops must not look like a dead node.
LONGEST_STOP = 5.0


@dataclass
class Fault:
    at: float
    kind: str
    detail: dict = field(default_factory=dict)

    def __str__(self):
        return " ".join([f"t={self.at:.2f}", self.kind, *(f"{name}={value}" for name, value in self.detail.items())])


def plan(seed, seconds, kinds, edges):
    """The faults of a run, in order of time. Each kind has random numbers of its own: leaving one out does not change the others."""
    faults = []
    for kind in kinds:
        make = globals().get(f"_{kind}")
        if make:
            faults += make(random.Random(f"{seed} {kind}"), seconds, edges)
    return sorted(faults, key=lambda fault: (fault.at, fault.kind))


def settings(seed):
    """Options of the hub that decide which paths are taken: windows, memory, bounds of the output."""
    source = random.Random(f"{seed} settings")
    return {
        "window": source.choice((64, 64, 8, 1)),
        "max_memory": source.choice(("256MiB", "256MiB", "2MiB")),
        "hold": source.choice(("64MiB", "256KiB", "64KiB")),
        "spill": source.choice(("4GiB", "1MiB", "0")),
        "commit_delay": source.choice(("0.005", "0.005", "0", "0.2")),
    }


def _times(source, seconds, every, first=2.0):
    at = first + source.uniform(0, every)
    while at < seconds:
        yield round(at, 3)
        at += source.uniform(0.5 * every, 1.5 * every)


def _kill(source, seconds, _):
    """Each stage by itself, so that its deaths keep their distance; in places all at the same moment."""
    faults = []
    together = list(_times(source, seconds, 60.0, 15.0))
    for stage in STAGES:
        last = -KILL_SPACING
        own = _times(source, seconds, 32.0)
        near = [at + source.choice((0.0, 0.0, 0.3, 1.1)) for at in together if source.random() < 0.7]
        for at in sorted([*own, *near]):
            if at - last >= KILL_SPACING and at < seconds:
                faults.append(Fault(round(at, 3), "kill", {"stage": stage}))
                last = at
    return faults


def _stop(source, seconds, _):
    return [
        Fault(at, "stop", {"stage": source.choice(STAGES), "for": round(source.uniform(0.2, LONGEST_STOP), 2)})
        for at in _times(source, seconds, 9.0)
    ]


def _consumer(source, seconds, _):
    return [Fault(at, "consumer", {"for": round(source.uniform(1, 14), 2)}) for at in _times(source, seconds, 30.0)]


def _disk(source, seconds, _):
    return [Fault(at, "disk", {"for": round(source.uniform(0.5, 6), 2)}) for at in _times(source, seconds, 35.0)]


def _cut(source, seconds, edges):
    faults = []
    for at in _times(source, seconds, 4.0):
        victims = sorted(source.sample(range(edges), max(1, int(edges * source.choice((0.02, 0.1, 0.3))))))
        how = source.choice(("abort", "half", "silent", "deaf", "mute"))
        faults.append(Fault(at, "cut", {"how": how, "for": round(source.uniform(0.3, 12), 2), "edges": victims}))
    return faults


def _herd(source, seconds, _):
    return [
        Fault(at, "herd", {"how": source.choice(("close", "abort", "takeover")), "share": source.choice((1.0, 1.0, 0.5))})
        for at in _times(source, seconds, 25.0)
    ]


def _flood(source, seconds, edges):
    return [
        Fault(at, "flood", {"edge": source.randrange(edges), "count": source.choice((300, 600)), "size": source.choice((200, 200, 20_000))})
        for at in _times(source, seconds, 20.0)
    ]
