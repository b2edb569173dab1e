"""`hub run` and `hub status`: what the launcher makes of stages that fail, of signals, and of wrong usage."""

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

import edge
from conftest import BIN, ROOT, STAGES, Hub, Process, config_map, leftovers, program, run, wait_until

pytestmark = pytest.mark.whole_hub
HUB = str(ROOT / "bin" / "hub")
ENVIRONMENT = {**os.environ, "HUB_BIN_DIR": str(BIN)}


def hub_run(directory, *options, data=b"", timeout=60, **settings):
    """Runs a hub on free ports to its end."""
    settings.setdefault("env", ENVIRONMENT)
    ports = ["--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"]
    return run([HUB, "run", "--dir", str(directory), *ports, *options], data, timeout, **settings)


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path):
    yield
    assert leftovers(tmp_path) == []


@pytest.fixture
def start(tmp_path):
    """Starts hubs and kills what is left of them."""
    hubs = []

    def start(*options, **settings):
        hubs.append(Hub(tmp_path / "hub", *options, **settings))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.kill()


def started(hub):
    assert hub.wss and hub.https
    return hub


def test_sigterm_ends_the_stages_downstream_with_0(start):
    hub = started(start())
    assert stat.S_IMODE(hub.run.stat().st_mode) == 0o700
    assert hub.stop() == 0
    assert not hub.run.exists()
    assert hub.errors[-1] == b"level=info event=hub_ended status=0\n"


def test_sigint_to_the_whole_group_does_the_same(start, tmp_path):
    hub = Process(
        [HUB, "run", "--dir", str(tmp_path / "hub"), "--run-dir", str(tmp_path / "run"), "--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"],
        env=ENVIRONMENT, start_new_session=True)
    wait_until((tmp_path / "run" / "wss.port").exists, what="the start")
    os.killpg(hub.process.pid, signal.SIGINT)
    assert hub.wait() == 0, hub.errors


def test_a_second_signal_ends_all_at_once(start):
    hub = started(start())
    os.kill(hub.pid("queue"), signal.SIGSTOP)
    hub.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert hub.process.poll() is None, "it waits for the queue"
    hub.process.send_signal(signal.SIGTERM)
    assert hub.wait(5) == 75
    assert not hub.run.exists()


def test_a_killed_launcher_leaves_nothing(start):
    hub = started(start())
    hub.process.kill()
    hub.process.wait()
    wait_until(lambda: not hub.run.exists(), what="the end of the stages")


def test_what_was_read_before_sigterm_is_kept(tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ports = ["--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"]
    hub = Process([HUB, "run", "--dir", str(tmp_path / "hub"), "--run-dir", str(tmp_path / "run"), *ports], stdin=reader, env=ENVIRONMENT)
    try:
        wait_until((tmp_path / "run" / "wss.port").exists, what="the start")
        written, rest, deadline = 0, b"", time.monotonic() + 1.0
        while time.monotonic() < deadline or rest:
            rest = rest or config_map("away", f"c{written}", 1)
            try:
                rest = rest[os.write(writer, rest) :]
            except BlockingIOError:
                time.sleep(0.001)
                continue
            written += not rest
        assert hub.stop() == 0
        os.set_blocking(reader, False)
        unread = b""
        while True:
            try:
                unread += os.read(reader, 1 << 20)
            except BlockingIOError:
                break
        stored = len(run([program("hub-queue"), "list", "--state", str(tmp_path / "hub" / "queue.db")]).stdout.splitlines())
        # The line that was being read may be cut: its end is still in the pipe.
        assert written - stored - unread.count(b'{"header"') in (0, 1)
        assert stored > 1000
    finally:
        hub.kill()
        os.close(reader)
        os.close(writer)


def test_the_end_of_input_is_not_the_end_of_the_hub(start):
    hub = started(start())
    hub.close_input()
    with hub.connect("n") as node:
        sent = node.send_message("update", "default/podstatus/p", "c")
        hub.wait_message(lambda message: message["header"]["msg_id"] == sent)
        os.kill(hub.pid("queue"), signal.SIGKILL)
        wait_until(lambda: any(b"stage=queue" in text for text in hub.errors), what="the restart")
    assert hub.stop() == 0


def test_exit_when_drained(start):
    hub = started(start("--exit-when-drained"))
    identity = hub.join("n")
    for number in range(30):
        hub.write(config_map("n", f"c{number}", 1))
    hub.write(config_map("never-online", "c", 1))
    hub.close_input()
    time.sleep(0.5)
    assert hub.process.poll() is None, "no node has been online"
    with hub.connect("n", identity) as node:
        node.wait_count(30)
        node.wait_closed()
    assert hub.wait() == 0, hub.errors
    assert [entry["node"] for entry in hub.queue("list")] == ["never-online"]


def test_exit_when_drained_after_the_queue_died(start):
    hub = started(start("--exit-when-drained"))
    identity = hub.join("n")
    hub.write(config_map("n", "a", 1))
    hub.close_input()
    wait_until(lambda: hub.queue("list"), what="the message on disk")
    os.kill(hub.pid("queue"), signal.SIGKILL)
    with hub.connect("n", identity) as node:
        node.wait_count(1)
    assert hub.wait() == 0, hub.errors


def test_a_restarted_stage_begins_with_a_newline(start):
    hub = started(start())
    first = hub.pid("up")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: hub.pid("up") != first, what="the restart")
    hub.wait_lines(lambda lines: lines == [b"\n"])
    assert hub.stop() == 0


def test_a_stage_that_cannot_stay_up_ends_the_hub(tmp_path):
    programs = tmp_path / "bin"
    shutil.copytree(BIN, programs, ignore=lambda _, names: [name for name in names if not name.startswith("hub-") or "." in name])
    broken = programs / "hub-keepalive"
    broken.unlink()
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 70\n")
    broken.chmod(0o755)
    begun = time.monotonic()
    done = hub_run(tmp_path / "hub", env={**ENVIRONMENT, "HUB_BIN_DIR": str(programs)})
    assert done.returncode == 70
    assert 6 < time.monotonic() - begun < 25, "0 + 1 + 2 + 4 seconds"
    assert done.stderr.count(b"broken\n") == 5
    assert b"level=error event=stage_cannot_stay_up stage=keepalive status=70 deaths=5\n" in done.stderr


def test_a_missing_program_is_69(tmp_path):
    done = hub_run(tmp_path / "hub", env={**os.environ, "HUB_BIN_DIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (69, b"hub: the program hub-dispatch is not in %s\n" % os.fsencode(tmp_path))


def test_a_port_in_use_is_73(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = hub_run(tmp_path / "hub", "--listen", address)
        assert done.returncode == 73
        assert f"hub-wsserve: cannot listen on {address}: Address already in use\n".encode() in done.stderr
        done = hub_run(tmp_path / "hub", "--certs-listen", address)
        assert done.returncode == 73
        assert f"hub-certs: cannot listen on {address}: Address already in use\n".encode() in done.stderr


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
def test_a_key_that_may_not_be_read_is_77(tmp_path):
    directory = Path("/tmp") / f"hub-{os.getpid()}-{time.monotonic_ns()}"
    nobody = pwd.getpwnam("nobody")
    directory.mkdir(mode=0o755)
    try:
        assert run([program("hub-certs"), "prepare", "--dir", str(directory)]).returncode == 0
        directory.chmod(0o755)
        shutil.chown(directory, nobody.pw_uid, nobody.pw_gid)
        for path in directory.iterdir():
            shutil.chown(path, nobody.pw_uid, nobody.pw_gid)
        (directory / "server.key").chmod(0)
        become = ["setpriv", "--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
        programs = directory / "bin"  # the build may lie where others cannot go
        programs.mkdir(mode=0o755)
        for name in ("hub-dispatch", "hub-queue", "hub-wsserve", "hub-keepalive", "hub-certs", "hub-replay", "hub-record", "hub-service"):
            shutil.copy(program(name), programs)
        for script in ("hub", "hub-run", "hub-lib.sh"):
            shutil.copy(ROOT / "bin" / script, programs)
        done = run(
            [*become, str(programs / "hub"), "run", "--dir", str(directory), "--listen", "127.0.0.1:0", "--certs-listen", "none"],
            env={"PATH": os.environ["PATH"], "TMPDIR": "/tmp"})
        assert done.returncode == 77, done.stderr
        last = [text for text in done.stderr.splitlines() if b"server.key" in text][-1]
        assert b"ermission denied" in last
    finally:
        shutil.rmtree(directory)


def test_the_key_of_an_authority_that_is_elsewhere_is_not_needed(start, tmp_path):
    assert run([program("hub-certs"), "prepare", "--dir", str(tmp_path / "hub")]).returncode == 0
    (tmp_path / "hub" / "rootCA.key").unlink()
    hub = start("--certs-listen", "none")
    assert hub.wss and hub.stop() == 0
    assert not (tmp_path / "hub" / "rootCA.key").exists()
    done = hub_run(tmp_path / "hub")
    assert done.returncode == 78 and b"rootCA.key" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_two_that_strangers_reach_run_as_users_of_their_own(tmp_path):
    home = Path("/tmp") / f"hub-{os.getpid()}-{time.monotonic_ns()}"
    home.mkdir(mode=0o711)
    shutil.chown(home, "daemon")
    try:
        options = [word for stage, user in (("wsserve", "nobody"), ("certs", "daemon")) for word in (f"--{stage}-opt=--user", f"--{stage}-opt={user}")]
        hub = Hub(home, *options)
        try:
            with hub.connect("edge-0"):
                for stage, user in (("wsserve", "nobody"), ("certs", "daemon"), ("queue", "root")):
                    status = Path(f"/proc/{hub.pid(stage)}/status").read_text()
                    assert f"\nUid:\t{pwd.getpwnam(user).pw_uid}\t" in status
            assert os.stat(home / "rootCA.key").st_uid == os.stat(home / "issued.jsonl").st_uid == pwd.getpwnam("daemon").pw_uid
            assert hub.stop() == 0, hub.errors
        finally:
            hub.kill()
    finally:
        shutil.rmtree(home)


def test_a_missing_authority_is_78(tmp_path):
    assert run([program("hub-certs"), "prepare", "--dir", str(tmp_path / "hub")]).returncode == 0
    (tmp_path / "hub" / "rootCA.crt").unlink()
    (tmp_path / "hub" / "rootCA.crt").write_text("nonsense")
    done = hub_run(tmp_path / "hub")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1 and b"rootCA.crt" in done.stderr


def test_a_directory_that_cannot_be_made_is_73(tmp_path):
    (tmp_path / "file").write_text("")
    done = hub_run(tmp_path / "file" / "hub")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (73, b"hub: cannot create the directory %s/file/hub" % os.fsencode(tmp_path))


def test_a_fifo_that_nobody_reads_is_73(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    done = hub_run(tmp_path / "hub", "--to", f"router={tmp_path / 'fifo'}")
    assert done.returncode == 73
    assert b"hub-dispatch: nobody reads the FIFO %s/fifo\n" % os.fsencode(tmp_path) in done.stderr


def test_a_state_that_is_no_database_is_78(tmp_path):
    (tmp_path / "state").write_bytes(b"x" * 10_000)
    done = hub_run(tmp_path / "hub", "--state", str(tmp_path / "state"))
    assert done.returncode == 78
    assert b"hub-queue: " in done.stderr


def test_a_gone_reader_is_74(start):
    hub = started(start())
    reader, writer = os.pipe()
    hub.stop()
    second = subprocess.Popen(
        [HUB, "run", "--dir", str(hub.directory), "--run-dir", str(hub.run), "--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"],
        stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, env=ENVIRONMENT)
    os.close(writer)
    os.close(reader)
    try:
        ports = [int(wait_until(lambda: (hub.run / name).exists() and (hub.run / name).read_text(), what=name)) for name in ("wss.port", "https.port")]
        token = run([program("hub-certs"), "token", "--dir", str(hub.directory)]).stdout.decode()
        with edge.Edge("n", ports[0], edge.join("n", ports[1], token, hub.directory / "edges")):
            assert second.wait(20) == 74
        assert b"hub-dispatch: the reader of standard output has gone\n" in second.stderr.read()
    finally:
        second.kill()
        second.communicate()


def test_strict_is_65(start):
    hub = started(start("--down-opt", "--strict"))
    hub.write(config_map("n", "a", 1) + b"bad\n")
    assert hub.wait() == 65
    assert b"hub-dispatch: standard input: line 2: not JSON at byte 0\n" in hub.errors
    assert len(hub.queue("list")) == 1


def test_one_hub_per_run_directory(start, tmp_path):
    hub = started(start())
    done = hub_run(tmp_path / "other", "--run-dir", str(hub.run))
    assert done.returncode == 75
    assert done.stderr.splitlines()[-1] == b"hub: another hub, process %d, runs in %s" % (hub.process.pid, os.fsencode(hub.run))
    assert hub.stop() == 0
    # What a killed machine leaves does not matter.
    hub.run.mkdir()
    (hub.run / "hub.pid").write_text("999999999\n")
    (hub.run / "routed").write_text("")
    again = started(start())
    assert again.stop() == 0


@pytest.mark.parametrize(
    "arguments",
    [["run", "--no-such-option", "x"], ["run", "--listen"], ["run", "file"], ["run", "--to", "router"], ["run", "--log-format", "xml"], ["walk"], ["status", "x"], ["tap"], ["tap", "x"], ["record"],
     ["replay"], ["replay", "x", "--link", "out"], ["swap"], ["swap", "x"], ["swap", "up"], ["swap", "up", "--"], ["swap", "certs", "--back"],
     ["restart"], ["restart", "x"], ["stop", "--timeout", "x"], ["reload", "x"],
     ["nodes", "--sort", "x"], ["top", "--interval", "x"]],
)
def test_wrong_usage_is_64(arguments, tmp_path):
    done = run([HUB, *arguments], env={**ENVIRONMENT, "HOME": str(tmp_path)})
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(b"hub: ")


def test_help():
    for arguments in ([], ["help"], ["--help"], ["run", "--help"]):
        done = run([HUB, *arguments], env=ENVIRONMENT)
        assert done.returncode == 0 and b"EXIT STATUS" in done.stdout and done.stderr == b""


@pytest.mark.parametrize("command", ["tap", "record", "replay", "swap", "restart", "reload", "stop", "status", "nodes", "top"])
def test_help_of_each_command_and_no_hub(command, tmp_path):
    done = run([HUB, command, "--help"], env=ENVIRONMENT)
    assert done.returncode == 0 and b"USAGE" in done.stdout and done.stderr == b""
    more = {"tap": ["out"], "record": [tmp_path / "r"], "replay": ["x"], "swap": ["up", "--back"], "restart": ["up"]}
    done = run([HUB, command, *more.get(command, []), "--run-dir", tmp_path / "none"], env=ENVIRONMENT)
    assert done.returncode == 69 and done.stderr == f"hub: no hub runs in {tmp_path}/none\n".encode()


def test_status_and_counters(start):
    hub = started(start())
    hub.write(config_map("n", "c", 1) + b"no json\n")

    def told():
        done = run([HUB, "status", "--json", "--run-dir", str(hub.run)])
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)
        return status if status["stages"][0]["lines_in"] == 2 else None

    status = wait_until(told, what="counters")
    assert (status["pid"], status["wss_port"], status["https_port"]) == (hub.process.pid, hub.wss, hub.https)
    assert [stage["stage"] for stage in status["stages"]] == [*STAGES, "certs"]
    assert {stage["state"] for stage in status["stages"]} == {"up"}
    down = status["stages"][0]
    assert (down["lines_out"], down["rejected"], down["restarts"], down["pid"]) == (1, 1, 0, hub.pid("down"))
    assert status["rejects"] == [{"stage": "down", "reason": "not JSON", "count": 1}]
    assert all(stage["resident_mb"] > 1 and stage["seconds"] < 60 for stage in status["stages"])
    shown = run([HUB, "status", "--run-dir", str(hub.run)]).stdout.decode().splitlines()
    assert shown[0].split()[:3] == ["hub", "pid", str(hub.process.pid)] and shown[1].split()[:2] == ["stage", "state"]
    assert [row.split()[0] for row in shown[2:8]] == [*STAGES, "certs"]
    assert shown[8] == "" and shown[9].split() == ["down", "refused", "1:", "not", "JSON"]
    hub.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: sum(b"event=counters" in text for text in hub.errors) == 6, what="six lines of counters")
    assert hub.stop() == 0
    assert run([HUB, "status", "--run-dir", str(hub.run)]).returncode == 69


def test_sighup_reads_the_certificates_again(start):
    hub = started(start())
    hub.process.send_signal(signal.SIGHUP)
    wait_until(lambda: sum(b"event=reloaded" in text for text in hub.errors) == 2, what="two servers that reload")
    assert hub.stop() == 0


def test_log_lines_as_json(start):
    hub = started(start("--log-format", "json"))
    with hub.connect("n"):
        pass
    os.kill(hub.pid("keepalive"), signal.SIGKILL)
    hub.wait_errors(b'"stage_died"')
    assert hub.stop() == 0
    events = [json.loads(text)["event"] for text in hub.errors]
    assert {"hub_started", "listening", "connected", "stage_died", "hub_ended"} <= set(events)


def test_options_reach_their_stage(start, tmp_path):
    hub = started(start("--wsserve-opt", "--node-limit", "--wsserve-opt", "1", "--to", f"router={tmp_path / 'router file'}", environment={"HUB_ACK_TIMEOUT": "0.3"}))
    with hub.connect("n", acknowledges=False) as node:
        hub.write(config_map("n", "it's", 1))
        node.wait_count(3)
        with pytest.raises(Exception, match="503"):
            hub.connect("m")
        node.send_message("upload", "topic", "c", source="eventbus", group="user")
        wait_until(lambda: (tmp_path / "router file").exists() and (tmp_path / "router file").read_bytes().endswith(b"\n"), what="the router's file")
    assert hub.stop() == 0


def test_a_slow_reader_of_standard_output_delays_no_acknowledgement(tmp_path):
    reader, writer = os.pipe()
    hub = subprocess.Popen(
        [HUB, "run", "--dir", str(tmp_path / "hub"), "--run-dir", str(tmp_path / "run"), "--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"],
        stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    os.close(writer)
    try:
        ports = [int(wait_until(lambda: (tmp_path / "run" / name).exists() and (tmp_path / "run" / name).read_text(), what=name)) for name in ("wss.port", "https.port")]
        token = run([program("hub-certs"), "token", "--dir", str(tmp_path / "hub")]).stdout.decode()
        with edge.Edge("n", ports[0], edge.join("n", ports[1], token, tmp_path / "edges")) as node:
            for number in range(300):
                node.send_message("update", "default/podstatus/p", "x" * 10_000, message_id=f"m{number}")
            hub.stdin.write(config_map("n", "a", 1))
            hub.stdin.flush()
            node.wait_count(1)
            listed = [program("hub-queue"), "list", "--state", str(tmp_path / "hub" / "queue.db")]
            wait_until(lambda: run(listed).stdout == b"", what="the acknowledgement")
        # SIGTERM then waits for the reader, and nothing is lost.
        hub.send_signal(signal.SIGTERM)
        got = []
        thread = threading.Thread(target=lambda: got.extend(open(reader, "rb")))
        thread.start()
        assert hub.wait(30) == 0
        thread.join(10)
        numbers = [m["header"]["msg_id"] for m in map(json.loads, got) if m["route"]["source"] == "edged"]
        assert numbers == [f"m{number}" for number in range(300)]
    finally:
        hub.kill()
        hub.communicate()
