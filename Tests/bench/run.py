"""Measures the complete hub: CPU per message of all its processes together, rates, latencies and memory, each beside its goal.

The load comes from hub-swarm over the real wire protocol on loopback. CPU is the user and system time of all processes of the hub,
from the kernel's own accounts before and after; the load's CPU is not in it. Every run has a fresh hub. The table shows the median,
the smallest and the largest of the runs, the goal of the design, and what KubeEdge's CloudHub was measured at. Percentiles come from
histograms with three significant digits. Shared machines are noisy: the last line says how busy others kept this one.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import accounts
import baselines
import compare
import fairness
import rows as speed
import scale
import state
from results import SCHEMA, result
from running import ROOT, Run, Skipped
from table import table

EPILOG = """
examples:
  bin/bench                                          the figures to beat, three runs each, some minutes
  bin/bench --quick --row acknowledged --runs 1      one row, in some seconds
  bin/bench --json new.json --compare old.json       what has changed
  bin/bench --row figures --baselines                also cat, jq, websockets, websocketd, openssl and sqlite3
  bin/bench --row scale --nodes 1000,5000,10000 --row state --runs 1 --json scale.json --plot scale.png

Status: 0, 64 wrong usage, 69 something needed is missing, 70 a row failed. A goal that is missed is no failure.
"""


def numbers(text):
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise argparse.ArgumentTypeError("numbers with commas between are wanted")
    return found


def positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("a positive number is wanted")
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer messages, for a look")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="runs of each row (default: 3)")
    parser.add_argument("--row", action="append", metavar="NAME", help="measure this row or group only (default: figures); may be repeated; 'all'")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--baselines", action="store_true", help="also measure other programs that do one stage's work")
    parser.add_argument("--nodes", type=numbers, default=[1000, 5000, 10_000, 20_000], metavar="N,…",
                        help="connected nodes of the rows 'scale' (default: 1000,5000,10000,20000)")
    parser.add_argument("--versions", type=numbers, default=[0, 100_000, 1_000_000, 10_000_000], metavar="N,…",
                        help="acknowledged versions in the state files of the rows 'state' (default: 0,100000,1000000,10000000)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; '-' is standard output, and the table goes to standard error")
    parser.add_argument("--compare", metavar="FILE", help="show ratios to the figures in this file, which --json wrote")
    parser.add_argument("--plot", metavar="FILE", help="draw CPU per message and memory against the number of nodes, as PNG")
    parser.add_argument("--bin", metavar="DIR", default=os.environ.get("HUB_BIN_DIR", ROOT / ".build/release"), help="directory of the programs")
    try:
        return parser, parser.parse_args()
    except SystemExit as ending:
        sys.exit(64 if ending.code == 2 else ending.code)


def chosen(parser, options):
    """The rows to measure, in the order of the list."""
    rows = [*speed.ROWS, *fairness.ROWS, *scale.rows(options.nodes), *state.rows(options.versions), *baselines.ROWS]
    names = [*(options.row or ["figures"]), *(["baselines"] if options.baselines else [])]
    groups = {row.group for row in rows} | {"all"}
    for name in names:
        if name not in groups and name not in {row.name for row in rows}:
            usage(parser, f"there is no row '{name}'; see --list")
    return rows if options.list and not options.row else [row for row in rows if {"all", row.group, row.name} & set(names)]


def usage(parser, problem):
    parser.print_usage(sys.stderr)
    print(f"bench: {problem}", file=sys.stderr)
    sys.exit(64)


def missing(what):
    print(f"bench: {what}", file=sys.stderr)
    sys.exit(69)


def about(programs, options):
    version = subprocess.run([programs / "hub-swarm", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"schema": SCHEMA, "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "version": version,
            "kernel": platform.release(), "cores": accounts.CORES, "processor": model[0] if model else platform.machine(),
            "memory_mb": os.sysconf("SC_PHYS_PAGES") * accounts.PAGE // 1_000_000, "quick": options.quick, "runs": options.runs, "rows": {}}


def measure(row, programs, place, options, progress):
    """All runs of a row."""
    runs = []
    for number in range(options.runs):
        progress(row, number)
        machine, run = accounts.Machine(), Run(programs, place, options.quick)
        begun = time.monotonic()
        try:
            try:
                values = row.measure(run)
            finally:
                run.close()
        except Skipped as reason:
            return result(row, [*runs, {"skipped": {"row": str(reason)}}])
        except (RuntimeError, subprocess.SubprocessError, OSError, KeyError, ValueError) as problem:
            if os.environ.get("HUB_BENCH_TRACE"):
                traceback.print_exc()
            return result(row, runs, f"{type(problem).__name__}: {problem}")
        runs.append({**values, "machine": machine.end(), "seconds": round(time.monotonic() - begun, 1)})
    return result(row, runs)


class Progress:
    """Says what is measured, and about how long all will take."""

    def __init__(self, rows, options):
        self.rows, self.options = rows, options
        self.begun, self.guessed = time.monotonic(), 0

    def cost(self, row):
        return row.seconds[0 if self.options.quick else 1]

    def __call__(self, row, number):
        left = sum(self.cost(other) * self.options.runs for other in self.rows) - self.guessed
        spent = time.monotonic() - self.begun
        # What has been measured shows how far the guesses are off.
        left *= max(0.5, min(4, spent / self.guessed)) if self.guessed > 20 else 1
        self.guessed += self.cost(row)
        place = self.rows.index(row) + 1
        print(f"[{place}/{len(self.rows)}] {row.name}, run {number + 1} of {self.options.runs}; about {max(1, round(left / 60))} min left",
              file=sys.stderr, flush=True)


def main():
    parser, options = arguments()
    rows = chosen(parser, options)
    if options.list:
        for row in rows:
            print(f"{row.group:10} {row.name:20} {row.description}")
        return 0
    programs = Path(options.bin).resolve()
    if not (programs / "hub-swarm").exists():
        missing(f"no programs in {programs}; run swift build -c release")
    old = None
    if options.compare:
        try:
            old = json.loads(Path(options.compare).read_text())
            compare.readable(old)
        except (OSError, ValueError) as problem:
            usage(parser, f"--compare {options.compare}: {problem}")
    if options.plot:
        try:
            import plot
        except ImportError:
            missing("--plot needs matplotlib (Tests/bench/requirements.txt)")
    document = about(programs, options)
    place = Path(tempfile.mkdtemp(prefix="hub-bench-"))
    progress = Progress(rows, options)
    try:
        for row in rows:
            document["rows"][row.name] = entry = measure(row, programs, place, options, progress)
            for what in [entry.get("failed"), *entry.get("skipped", {}).values()]:
                if what:
                    print(f"  {row.name}: {what}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if old:
        document["compared"] = compare.compare(old, document)
    people = sys.stderr if options.json == "-" else sys.stdout
    print("\n".join(table(rows, document)), file=people)
    if old:
        print("\n" + "\n".join(compare.lines(rows, document["compared"])), file=people)
    if options.json:
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        sys.stdout.write(text) if options.json == "-" else Path(options.json).write_text(text)
    if options.plot:
        plot.draw(document, options.plot)
    return 70 if any("failed" in entry for entry in document["rows"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
