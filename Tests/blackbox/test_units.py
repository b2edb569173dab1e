"""The unit files in pipelines/systemd: systemd accepts them, and its own measure of what is left open stays low."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT, Process, config_map, program, run, wait_until
from test_launcher import ENVIRONMENT, HUB

UNITS = sorted((ROOT / "pipelines" / "systemd").glob("*.service"))
NEEDED = {
    "CapabilityBoundingSet=", "DynamicUser=yes", "MemoryDenyWriteExecute=yes", "NoNewPrivileges=yes", "PrivateDevices=yes",
    "PrivateTmp=yes", "ProtectHome=yes", "ProtectSystem=strict", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "Type=notify",
    "SystemCallFilter=@system-service", "UMask=0077",
    # What only an operator can mend must not be tried for ever.
    "Restart=on-failure", "RestartPreventExitStatus=64 77 78",
}  # fmt: skip

analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (package systemd)")


@analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_accepts_the_unit_and_finds_little_exposed(unit):
    done = run(["systemd-analyze", "verify", "--man=no", str(unit)])
    assert (done.returncode, done.stderr) == (0, b"")
    done = run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)])
    assert done.returncode == 0, done.stderr
    exposure = float(re.search(rb"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert exposure <= 1.5, done.stdout.decode()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_sandbox_is_complete(path):
    assert NEEDED <= set(path.read_text().splitlines())


def system_calls(path):
    """The names in a log of strace, with the arguments of those that make memory executable."""
    calls, executable = set(), []
    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if match:
            calls.add(match[1])
            if match[1] in ("mmap", "mprotect", "pkey_mprotect") and "PROT_WRITE|PROT_EXEC" in line:
                executable.append(line)
    return calls, executable


def allowed_calls():
    """What the units' SystemCallFilter leaves, spelled out."""

    def members(name, seen):
        if name in seen:
            return set()
        seen.add(name)
        found = set()
        for line in subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout.splitlines():
            word = line.strip()
            if word.startswith("@") and line.startswith(" "):
                found |= members(word, seen)
            elif line.startswith(" ") and not word.startswith("#"):
                found.add(word)
        return found

    return members("@system-service", set()) - members("@privileged", set()) - members("@resources", set())


# Refused with EPERM, and the programs go on: raising the soft limit of open files, which the unit has set to the hard limit; a thread of
# the queue that gives way to others. Giving files away is what root alone does.
HARMLESS = {"prlimit64", "setrlimit", "setpriority", "fchown"}


@analyze
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.whole_hub
def test_the_hub_needs_no_other_system_call(tmp_path):
    if run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode != 0:
        pytest.skip("strace may not trace here")
    log, run_dir, home = tmp_path / "calls", tmp_path / "run", tmp_path / "hub"
    # With -D the process is the launcher, and strace ends after it.
    hub = Process(
        ["strace", "-D", "-f", "-qq", "-o", str(log), "-e", "signal=none", HUB, "run", "--dir", str(home), "--run-dir", str(run_dir)]
        + ["--listen", "127.0.0.1:0", "--certs-listen", "127.0.0.1:0"],
        env=ENVIRONMENT,
    )
    try:
        hub.write(config_map("edge-0", "a", 1))
        wait_until(lambda: all((run_dir / name).exists() for name in ("wss.port", "https.port")), 60, "the ports")
        wss, https = ((run_dir / name).read_text().strip() for name in ("wss.port", "https.port"))
        done = run(
            [program("hub-swarm"), "sink", "--nodes", "1", "--count", "1", "--token-file", str(home / "token"), "--cert-dir"]
            + [str(tmp_path / "edges"), "--hub", f"127.0.0.1:{wss}", "--certs-url", f"https://127.0.0.1:{https}"],
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        hub.process.terminate()
        assert hub.process.wait(60) == 0, hub.errors
    finally:
        if hub.process.poll() is None:
            hub.process.kill()
    wait_until(lambda: "hub_ended" in log.read_text(errors="replace"), what="the end of the trace")
    calls, executable = system_calls(log)
    assert {"accept4", "epoll_wait", "fsync"} & calls
    assert not calls - allowed_calls() - HARMLESS, sorted(calls - allowed_calls())
    assert not executable, executable[:5]
