"""bin/install and bin/manual: an installed hub runs, and every page of the manual is one that roff accepts."""

import os
import shutil

import pytest
from conftest import BIN, ROOT, Process, config_map, program, run, wait_until

PROGRAMS = ("hub-dispatch", "hub-queue", "hub-wsserve", "hub-keepalive", "hub-certs", "hub-replay", "hub-record", "hub-service", "hub-swarm")
ENVIRONMENT = {**os.environ, "HUB_BIN_DIR": str(BIN)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    place = tmp_path_factory.mktemp("install")
    done = run([ROOT / "bin" / "install", "--destdir", place, "--prefix", "/usr"], env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return place / "usr"


def test_an_installed_hub_runs(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "HUB_BIN_DIR"}
    for name in PROGRAMS:
        assert run([installed / "bin" / name, "--help"], env=environment).returncode == 0
    hub = Process(
        [installed / "bin" / "hub", "run", "--dir", tmp_path / "hub", "--run-dir", tmp_path / "run", "--listen", "127.0.0.1:0", "--certs-listen",
         "127.0.0.1:0"], env=environment)
    try:
        hub.write(config_map("n", "c", 1))
        listed = [installed / "bin" / "hub-queue", "list", "--state", tmp_path / "hub" / "queue.db"]
        wait_until(lambda: b'"n-c-1"' in run(listed, env=environment).stdout, what="the message in the queue")
        assert run([installed / "bin" / "hub", "status", "--run-dir", tmp_path / "run"], env=environment).returncode == 0
        assert hub.stop() == 0
    finally:
        hub.kill()


def test_everything_has_its_place(installed):
    for path in (
            "lib/systemd/system/hub.service", "share/hub/pipelines/loopback.sh", "share/hub/pipelines/monitoring/alerts.yml", "share/man/man7/hub.7",
            "share/bash-completion/completions/hub-queue", "share/zsh/site-functions/_hub-queue"):
        assert (installed / path).stat().st_size > 100, path
    assert {path.name for path in (installed / "share/man/man1").iterdir()} == {f"{name}.1" for name in ("hub", *PROGRAMS)}
    if shutil.which("bash"):
        assert run(["bash", "-n", installed / "share/bash-completion/completions/hub-queue"]).returncode == 0


def test_pages_say_what_the_help_says(installed):
    page = (installed / "share/man/man1/hub-replay.1").read_text()
    shown = run([program("hub-replay"), "--help"]).stdout.decode()
    for words in ("shift\\-versions", "EXIT STATUS", "malformed line"):
        assert words in page
    assert "--shift-versions" in shown
    overview = (installed / "share/man/man7/hub.7").read_text()
    assert ".SH WHAT IS PROMISED" in overview and ".SH THE LINE" in overview


def test_roff_accepts_every_page(installed):
    if not shutil.which("groff"):
        pytest.skip("there is no groff")
    for page in sorted((installed / "share/man").glob("*/*")):
        done = run(["groff", "-man", "-ww", "-z", "-t", "-K", "utf8", "-T", "utf8", page])
        assert (done.returncode, done.stderr) == (0, b""), page


def test_wrong_usage_and_missing_programs(tmp_path):
    for script, arguments in (("install", ["--prefix", "here"]), ("install", ["x"]), ("install", ["--units"]), ("manual", [])):
        assert run([ROOT / "bin" / script, *arguments], env=ENVIRONMENT).returncode == 64
    missing = {**os.environ, "HUB_BIN_DIR": str(tmp_path)}
    assert run([ROOT / "bin" / "install", "--destdir", tmp_path], env=missing).returncode == 69
    assert run([ROOT / "bin" / "manual", tmp_path, "--bin", tmp_path], env=ENVIRONMENT).returncode == 69
