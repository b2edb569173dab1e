"""What the kernel has on its books: CPU and memory of processes, and what the rest of the machine used meanwhile."""

import os
import resource
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CORES = os.cpu_count()


def cpu(pid):
    """Seconds of CPU of a process and its threads. The scheduler's own count is exact to a nanosecond, unlike that of ticks."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass
    except OSError:
        pass
    return total / 1e9


def _stat(pid):
    """The fields of /proc/PID/stat after the name, which may hold blanks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def user_and_system(pid):
    """Seconds in user and in system mode, in ticks of usually 10 ms."""
    fields = _stat(pid)
    return (int(fields[11]) / TICK, int(fields[12]) / TICK) if fields else (0.0, 0.0)


def resident(pid):
    """Resident bytes."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def descendants(pid):
    """The process and all that it has started and that live."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry.name)):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, open_ones = [], [pid]
    while open_ones:
        one = open_ones.pop()
        found.append(one)
        open_ones += children.get(one, [])
    return found


def of_tree(pid):
    """CPU seconds of a process and its living descendants."""
    return sum(map(cpu, descendants(pid)))


class Machine:
    """How busy the machine was with other work between the making of this and `end`: call it when all processes of the run have ended."""

    def __init__(self):
        self.begun, self.busy, self.stolen, self.own = time.monotonic(), *self._all(), self._own()

    @staticmethod
    def _all():
        user, nice, system, _, _, irq, softirq, stolen = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
        return (user + nice + system + irq + softirq) / TICK, stolen / TICK

    @staticmethod
    def _own():
        """This process, and all ended descendants that were waited for."""
        return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))

    def end(self):
        """Shares of all cores, in percent: other processes, and what the hypervisor gave to other machines."""
        busy, stolen = self._all()
        whole = CORES * (time.monotonic() - self.begun)
        other = (busy - self.busy) - (self._own() - self.own)
        return {"others_percent": round(100 * max(0.0, other) / whole, 1), "stolen_percent": round(100 * (stolen - self.stolen) / whole, 1)}


def run_and_account(arguments, **options):
    """Runs a program to its end: seconds on the clock, and CPU seconds of it and all that it has waited for."""
    begun = time.monotonic()
    process = subprocess.Popen(arguments, **options)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{arguments[0]} ended with {process.returncode}")
    return time.monotonic() - begun, usage.ru_utime, usage.ru_stime
