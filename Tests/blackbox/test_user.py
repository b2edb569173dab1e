"""--user: hub-wsserve and hub-certs, started as root, serve as somebody who may read and write little."""

import os
import pwd
import shutil
import signal
import socket
import ssl
import tempfile
from pathlib import Path

import pytest
from certs_kit import CERTS, Server as CertsServer, csr, prepare
from conftest import Process, program, run, wait_until

WSSERVE = program("hub-wsserve")
USER, OTHER = "nobody", "daemon"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def place():
    """A directory that any user can reach; pytest's own are for root alone."""
    directory = Path(tempfile.mkdtemp(prefix="hub-user-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def home(place):
    prepare(place / "hub", "--advertise", "127.0.0.1")
    (place / "hub").chmod(0o755)
    return place / "hub"


@pytest.fixture
def processes():
    started = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(20)


def status_lines(pid):
    """/proc/PID/status of every thread, as dictionaries."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)


def check_unprivileged(pid, user):
    entry = pwd.getpwnam(user)
    threads = list(status_lines(pid))
    assert threads
    for thread in threads:
        assert thread["Uid"].split() == [str(entry.pw_uid)] * 4
        assert thread["Gid"].split() == [str(entry.pw_gid)] * 4
        assert thread["Groups"].split() == [str(entry.pw_gid)]
        assert {thread[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert thread["NoNewPrivs"] == "1"
    # The files in /proc of a process that cannot be dumped belong to root.
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0


def free_low_port():
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("no free port below 1024")


def handshake(port, home):
    """The server's certificate verifies; without a client certificate the handshake goes no further, which is enough here."""
    context = ssl.create_default_context(cafile=home / "rootCA.crt")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            return secure.getpeercert(binary_form=True)


@as_root
def test_wsserve_serves_as_a_user_who_cannot_read_the_keys(place, home, processes):
    port = free_low_port()
    arguments = [WSSERVE, "--dir", str(home), "--listen", f"127.0.0.1:{port}", "--print-port", str(place / "port"), "--user", USER]
    server = Process(arguments)
    processes.append(server.process)
    server.wait_errors(b"event=listening")
    server.wait_errors(b"event=privileges_dropped user=nobody")
    assert (place / "port").read_text() == f"{port}\n"
    check_unprivileged(server.process.pid, USER)
    for key in ("rootCA.key", "server.key"):
        assert os.stat(home / key).st_uid == 0 and os.stat(home / key).st_mode & 0o77 == 0
    handshake(port, home)

    server.process.send_signal(signal.SIGHUP)
    server.wait_errors(b"event=reload_failed")
    reason = next(line for line in server.errors if b"reload_failed" in line)
    assert b"server.key" in reason and b"read as the user nobody" in reason
    handshake(port, home)

    shutil.chown(home / "server.key", group=pwd.getpwnam(USER).pw_gid)
    (home / "server.key").chmod(0o640)
    server.process.send_signal(signal.SIGHUP)
    server.wait_errors(b"event=reloaded")
    server.process.send_signal(signal.SIGUSR1)
    server.wait_errors(b"event=counters")
    server.process.terminate()
    assert server.process.wait(20) == 0


@as_root
def test_certs_signs_as_the_owner_of_its_directory(place, home):
    owner = pwd.getpwnam(OTHER)
    for path in (home, *home.iterdir()):
        shutil.chown(path, owner.pw_uid, owner.pw_gid)
    home.chmod(0o700)
    (home / "server.crt").unlink()
    prepare(home, "--advertise", "127.0.0.1", "--dns", "localhost")  # by root, for the owner of the directory
    assert os.stat(home / "server.crt").st_uid == owner.pw_uid

    server = CertsServer(home, "--user", OTHER)
    try:
        check_unprivileged(server.process.process.pid, OTHER)
        status, _, _ = server.enroll(csr("edge-0"))
        assert status == 200
        assert os.stat(home / "issued.jsonl").st_uid == owner.pw_uid
        server.process.process.send_signal(signal.SIGHUP)
        server.process.wait_errors(b"event=reloaded")
        server.process.process.terminate()
        assert server.process.process.wait(20) == 0
    finally:
        if server.process.process.poll() is None:
            server.process.process.kill()


@as_root
def test_certs_says_at_its_start_that_it_could_not_write(home):
    done = run([CERTS, "serve", "--dir", str(home), "--listen", "127.0.0.1:0", "--user", USER])
    assert done.returncode == 77
    assert done.stderr.splitlines() == [
        f"hub-certs: the directory {home} must belong to the user nobody, who writes there: chown -R nobody {home}".encode()
    ]
    shutil.chown(home, USER)
    done = run([CERTS, "serve", "--dir", str(home), "--listen", "127.0.0.1:0", "--user", USER])
    assert done.returncode == 77
    assert b"/token must belong to the user nobody" in done.stderr


@pytest.mark.parametrize("server", ["hub-wsserve", "hub-certs"])
def test_wrong_users(server, home):
    arguments = [program(server), *(["serve"] if server == "hub-certs" else []), "--dir", str(home), "--listen", "127.0.0.1:0"]
    for user, words in [
        ("no-such-user", b"there is no user 'no-such-user'"),
        ("nobody:no-such-group", b"there is no group 'no-such-group'"),
        ("root", b"it is root and its group that are to be left"),
        ("nobody:root", b"it is root and its group that are to be left"),
    ]:
        done = run([*arguments, "--user", user])
        assert done.returncode == 64, done.stderr
        assert done.stderr == f"{server}: --user: ".encode() + words + b"\n"


@pytest.mark.parametrize("server", ["hub-wsserve", "hub-certs"])
def test_only_root_becomes_somebody_else(server, place, home):
    binary = place / server
    shutil.copy(program(server), binary)
    become = ["setpriv", "--reuid", OTHER, "--regid", OTHER, "--clear-groups"] if os.geteuid() == 0 else []
    for path in home.iterdir():
        path.chmod(0o644)
    arguments = [*become, str(binary), *(["serve"] if server == "hub-certs" else []), "--dir", str(home), "--listen", "127.0.0.1:0"]
    done = run([*arguments, "--user", USER])
    assert done.returncode == 77, done.stderr
    assert done.stderr == f"{server}: --user needs root: nobody else can become another user\n".encode()
