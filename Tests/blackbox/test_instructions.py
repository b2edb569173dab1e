"""bin/instructions: what a line costs, measured on the programs under test (their figures are not those of a release build)."""

import os
import shutil

import pytest
from conftest import BIN, ROOT, run

pytestmark = [
    pytest.mark.skipif(not shutil.which("valgrind") or not shutil.which("objcopy"), reason="valgrind and binutils are not installed"),
    pytest.mark.skipif("TSAN_OPTIONS" in os.environ, reason="valgrind cannot run what a sanitizer watches"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the figures are for x86-64"),
]
ROW = "up-acknowledgements"


def instructions(expected, *arguments):
    return run([ROOT / "bin" / "instructions", "--bin", BIN, "--row", ROW, "--expected", expected, *arguments], timeout=300)


def scaled(table, factor, figure):
    """The table with one figure of each row multiplied."""
    rows = []
    for row in table.splitlines():
        if row.startswith(ROW):
            words = row.split()
            words[figure] = str(float(words[figure]) * factor)
            row = " ".join(words)
        rows.append(row)
    return "\n".join(rows) + "\n"


def test_more_instructions_than_expected_fail_and_fewer_are_reported(tmp_path):
    expected = tmp_path / "expected"
    assert instructions(expected, "--update").returncode == 0
    table = expected.read_text()
    assert float(table.split(ROW)[1].split()[0]) > 1000

    again = instructions(expected)
    assert again.returncode == 0 and again.stderr == b"", again.stderr

    expected.write_text(scaled(table, 0.9, 1))
    risen = instructions(expected)
    assert risen.returncode == 1
    assert b"MORE than before: up-acknowledgements" in risen.stderr and b"instructions a line, expected" in risen.stderr

    expected.write_text(scaled(table, 1.1, 1))
    fallen = instructions(expected)
    assert fallen.returncode == 0
    assert b"less than before: up-acknowledgements" in fallen.stderr and b"--update" in fallen.stderr


def test_what_has_no_figures_is_not_passed(tmp_path):
    (tmp_path / "expected").write_text("# none\n")
    done = instructions(tmp_path / "expected")
    assert done.returncode == 70 and b"has no row up-acknowledgements" in done.stderr
    assert instructions(tmp_path / "expected", "--no-such-option").returncode == 64
