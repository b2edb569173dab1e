"""bin/hostile with small numbers: every input does what it should, while an honest node is served."""

import json
import os
import subprocess

import pytest
from conftest import BIN, ROOT, leftovers

pytestmark = pytest.mark.whole_hub


def test_hostile_input_harms_nobody(tmp_path):
    done = subprocess.run(
        [ROOT / "bin" / "hostile", "--quick", "--json", "--patience", "5"], capture_output=True, timeout=240,
        env={**os.environ, "HUB_BIN_DIR": str(BIN), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, ([row for row in rows if row["problems"]], done.stderr.decode()[-3000:])
    assert len(rows) > 20 and all(row["outcome"] and row["peak"] > 0 for row in rows)
    assert leftovers(tmp_path) == []


def test_a_check_that_fails_fails_the_run(tmp_path):
    """Nobody is served within no time."""
    done = subprocess.run(
        [ROOT / "bin" / "hostile", "--quick", "--only", "^a node connects", "--patience", "0"], capture_output=True, timeout=60,
        env={**os.environ, "HUB_BIN_DIR": str(BIN), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1 and b"honest" in done.stdout
    assert (tmp_path / "hostile.log").exists()


def test_the_inputs_are_listed():
    done = subprocess.run([ROOT / "bin" / "hostile", "--list"], capture_output=True, timeout=60, check=True)
    assert b"10,000 half-open TCP connections" in done.stdout
    assert subprocess.run([ROOT / "bin" / "hostile", "--no-such"], capture_output=True, timeout=60).returncode == 2
