"""`bin/bench`: its figures are consistent, its table and its comparison say what they say. How fast anything is, no test asserts."""

import json
import os
import resource
import subprocess
import sys

import pytest

from conftest import BIN, ROOT, leftovers

sys.path.insert(0, str(ROOT / "Tests" / "bench"))

import baselines  # noqa: E402
import compare  # noqa: E402
import results  # noqa: E402
import running  # noqa: E402
import table  # noqa: E402


def bench(*arguments, programs=BIN, **options):
    return subprocess.run(
        [ROOT / "bin" / "bench", "--bin", programs, *map(str, arguments)], capture_output=True, text=True, timeout=240, **options)


def figure(*values):
    return {"median": sorted(values)[len(values) // 2], "min": min(values), "max": max(values)}


@pytest.mark.whole_hub
def test_a_quick_run_fills_json_table_and_comparison(tmp_path):
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    invented = {"cpu_us": figure(0.001), "distinct": figure(20_000), "duplicates": figure(0), "no_such_figure": figure(1)}
    old.write_text(json.dumps({"schema": 1, "rows": {"acknowledged": {"figures": invented}, "no-such-row": {"figures": invented}}}))
    done = bench("--quick", "--runs", 1, "--row", "acknowledged", "--json", new, "--compare", old, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    document = json.loads(new.read_text())
    assert document["schema"] == 1 and document["cores"] >= 1 and document["kernel"] and document["version"] and document["date"]
    assert list(document["rows"]) == ["acknowledged"]
    entry = document["rows"]["acknowledged"]
    found = entry["figures"]
    assert (found["distinct"]["median"], found["duplicates"]["median"]) == (20_000, 0)
    percentiles = [found[f"latency_us.{name}"]["median"] for name in ("p50", "p90", "p99", "p99.9", "max")]
    assert percentiles == sorted(percentiles) and percentiles[0] > 0
    assert len(entry["runs"]) == 1
    for one in found.values():
        assert one["median"] == one["min"] == one["max"] == one["values"][0]
    # The books of the stages are those of the whole; ticks are coarse.
    run = entry["runs"][0]
    assert sum(run["by_stage_us"].values()) == pytest.approx(run["cpu_us"], rel=0.01)
    assert run["user_us"] + run["system_us"] == pytest.approx(run["cpu_us"], rel=0.3)
    assert run["hub_mb"] == pytest.approx(sum(run["by_stage_mb"].values()), rel=0.01)
    assert 0 <= run["machine"]["others_percent"] <= 100
    goal = found["cpu_us"]
    assert (goal["goal"], goal["cloudhub"], goal["relation"]) == (20, 129, "<=")
    assert goal["verdict"] == ("meets" if goal["median"] <= 20 else "misses")
    # The comparison.
    assert set(document["compared"]) == {"acknowledged"} and set(document["compared"]["acknowledged"]) == {"cpu_us", "distinct", "duplicates"}
    assert document["compared"]["acknowledged"]["cpu_us"]["differs"] is True
    assert document["compared"]["acknowledged"]["cpu_us"]["ratio"] == pytest.approx(goal["median"] / 0.001, rel=0.01)
    assert document["compared"]["acknowledged"]["distinct"] == {"old": 20_000, "new": 20_000, "ratio": 1, "differs": False}
    # What people see.
    assert "acknowledged, run 1 of 1" in done.stderr and "min left" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["figure", "median", "min", "max", "goal", "CloudHub", "verdict"]
    (shown,) = [line for line in lines if line.startswith("  CPU per message, µs")]
    assert shown.split()[-4:] == ["≤", "20", "129", goal["verdict"]]
    assert any(line.startswith("* acknowledged") and "CPU per message" in line for line in lines)
    assert leftovers(tmp_path) == [] and list(tmp_path.glob("hub-bench-*")) == []


@pytest.mark.whole_hub
def test_json_on_standard_output_and_a_row_that_cannot_be_measured():
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))  # noqa: E731
    done = bench("--row", "scale", "--nodes", 1000, "--runs", 1, "--json", "-", preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)["rows"]["scale-1000"]
    assert "open files" in entry["skipped"]["row"] and entry["figures"] == {}
    assert "skipped, 1,000 connections need 1,600 open files, the hard limit is 256" in done.stderr


def test_a_row_that_fails_is_named_and_ends_with_70(tmp_path):
    (tmp_path / "hub-swarm").write_text("#!/bin/sh\necho 0.0.0\n")
    (tmp_path / "hub-swarm").chmod(0o755)
    done = bench("--row", "light", "--runs", 1, programs=tmp_path)
    assert done.returncode == 70
    assert "failed: RuntimeError: the hub ended" in done.stdout


@pytest.mark.parametrize("arguments,status,words", [
    (["--row", "no-such-row"], 64, "no row 'no-such-row'"), (["--runs", "0"], 64, "positive number"), (["--nodes", "1,x"], 64, "numbers"),
    (["--no-such-option"], 64, "unrecognized"), (["--compare", "/dev/null"], 64, "--compare"), (["--bin", "/"], 69, "no programs in /"),
    (["--help"], 0, "examples:"), (["--list"], 0, "baselines-filters"),
])
def test_usage(arguments, status, words, tmp_path):
    (tmp_path / "hub-swarm").write_text("#!/bin/sh\necho 0.0.0\n")
    (tmp_path / "hub-swarm").chmod(0o755)
    done = bench(*arguments, programs=tmp_path)
    assert done.returncode == status, done.stderr
    assert words in done.stdout + done.stderr


ROW = results.Row("row", "A row.", None, [results.Figure("low.a", "low", "µs"), results.Figure("high", "high", "1/s")],
                  {"low.a": results.Goal("<=", 20, 129), "high": results.Goal(">=", 10, None)})


def test_medians_spread_and_verdicts():
    runs = [{"low": {"a": 19}, "high": 9, "text": "x", "yes": True}, {"low": {"a": 50}, "high": 12}, {"low": {"a": 20}, "high": 9.5}]
    entry = results.result(ROW, runs)
    assert {name: (one["median"], one["min"], one["max"]) for name, one in entry["figures"].items()} == {"low.a": (20, 19, 50), "high": (9.5, 9, 12)}
    assert (entry["figures"]["low.a"]["verdict"], entry["figures"]["high"]["verdict"]) == ("meets", "misses")
    lines = list(table.table([ROW], {"rows": {"row": entry}}))
    assert lines[2] == "row: A row. (3 runs)"
    assert lines[3].split() == ["low,", "µs", "20", "19", "50", "≤", "20", "129", "meets"]
    assert lines[4].split() == ["high,", "1/s", "9.50", "9", "12", "≥", "10", "-", "misses"]


@pytest.mark.parametrize("old,new,ratio,differs", [
    ([10, 11, 12], [13, 14, 15], 1.273, False), ([10, 11, 12], [15, 16, 17], 1.455, True), ([100], [100], 1, False), ([0], [3], None, True),
])
def test_a_difference_counts_beyond_the_spread_of_both(old, new, ratio, differs):
    found = compare.compare({"schema": 1, "rows": {"row": {"figures": {"high": figure(*old)}}}}, {"rows": {"row": {"figures": {"high": figure(*new)}}}})
    assert (found["row"]["high"]["ratio"], found["row"]["high"]["differs"]) == (ratio, differs)
    (line,) = list(compare.lines([ROW], found))[1:]
    assert line.startswith("*") == differs


@pytest.mark.whole_hub
def test_filters_beside_others_and_a_program_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines.shutil, "which", lambda _: None)
    run = running.Run(BIN, tmp_path, True)
    try:
        values = baselines.filters(run)
    finally:
        run.close()
    assert values["skipped"] == {"jq": "no program jq (package jq)"} and "jq" not in values
    for name in ("cat_1", "cat_5", "down", "keepalive", "up", "keepalive_up"):
        assert values[name]["rate"] > 0
    # The lines that are measured are not refused ones.
    for arguments in (["hub-keepalive", "--control", "/dev/null"], ["hub-dispatch", "up", "--feedback", "/dev/null"]):
        with open(baselines.upward_file(run, 20_000), "rb") as lines:
            done = subprocess.run([BIN / arguments[0], *arguments[1:]], stdin=lines, capture_output=True)
        assert done.returncode == 0 and b"reject" not in done.stderr
        assert done.stdout.count(b"/podstatus/") == 20_000


def test_the_picture_shows_the_rows_about_many_nodes(tmp_path):
    pytest.importorskip("matplotlib")
    import plot

    def entry(nodes):
        return {"group": "scale", "runs": [{}], "figures": {"nodes": figure(nodes), **{key: figure(1, 2, 3) for key in (*plot.LINES, *plot.MEMORY)}}}

    document = {"version": "0", "cores": 2, "kernel": "0", "rows": {"scale-9": entry(9), "scale-5": entry(5)}}
    assert plot.points(document, "to_all.cpu_us") == ([5, 9], [2, 2], [[1, 1], [1, 1]])
    plot.draw(document, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
