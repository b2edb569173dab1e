"""A world of its own for the run: when root, processes, mounts and network live in namespaces that end with it.

So nothing can be left behind, whatever ends the run; traffic cannot leave the machine; and a small file system can be mounted.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x0002_0000, 0x2000_0000, 0x4000_0000
MS_REC, MS_PRIVATE = 0x4000, 0x4_0000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent(number=signal.SIGKILL):
    """The calling process gets this signal when the thread that forked it ends. For `preexec_fn`."""
    libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def mount(source, target, kind, flags=0, data=None):
    if libc.mount(source and source.encode(), str(target).encode(), kind and kind.encode(), flags, data and data.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def loopback_up():
    """Switches the loopback interface of this network namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(link, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(link, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def enter():
    """Goes on in a child inside new namespaces; the parent passes signals on and ends with the child's status.

    Returns None, or why it goes on without them. To be called before any thread is started.
    """
    if not hasattr(libc, "unshare"):
        return "not Linux"
    if os.geteuid() != 0:
        return "not root"
    # The network on its own first: what fails must leave nothing half done.
    if libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) != 0:
        return f"no namespaces: {os.strerror(ctypes.get_errno())}"
    child = os.fork()
    if child:
        _wait(child)
    end_with_parent()
    # A session of its own: Ctrl-C at a terminal arrives once, through the parent.
    os.setsid()
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc")
    loopback_up()
    return None


def _wait(child):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            break
    sys.stdout.flush()
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
