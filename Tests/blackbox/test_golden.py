"""Golden cases: Tests/Golden/<program>/<case>/ holds the command line, the input, and all that must come of it.

    args        one argument per line; {tmp} is a fresh directory
    in.jsonl    standard input
    out.jsonl   standard output, exactly
    err         standard error, exactly
    status      exit status
    file-NAME   a file NAME that the program leaves in {tmp}, exactly

HUB_REWRITE=1 writes what came instead of comparing, for review with `git diff`.
"""

import os
from pathlib import Path

import pytest

from conftest import ROOT, program, run

GOLDEN = ROOT / "Tests" / "Golden"
CASES = sorted(path.parent for path in GOLDEN.glob("*/*/args"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_golden(case, tmp_path):
    arguments = [word.replace("{tmp}", str(tmp_path)) for word in (case / "args").read_text().splitlines()]
    done = run([program(case.parent.name), *arguments], (case / "in.jsonl").read_bytes())
    came = {
        "out.jsonl": done.stdout,
        "err": done.stderr.replace(os.fsencode(tmp_path), b"{tmp}"),
        "status": b"%d\n" % done.returncode,
        **{f"file-{path.name}": path.read_bytes() for path in sorted(tmp_path.iterdir())},
    }
    expected = {path.name: path for path in case.iterdir() if path.name not in ("args", "in.jsonl")}
    if os.environ.get("HUB_REWRITE"):
        for name in expected.keys() - came.keys():
            expected[name].unlink()
        for name, data in came.items():
            (case / name).write_bytes(data)
        pytest.skip("rewritten")
    assert {name: path.read_bytes() for name, path in expected.items()} == came
