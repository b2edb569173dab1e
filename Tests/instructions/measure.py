"""Counts what a line costs in each program, and compares it with what it cost before.

The programs run under valgrind's callgrind with fixed input, twice: with few lines and with more. The difference, divided by the number
of further lines, is the cost of a line; start and end do not count. Only instructions of the program's own file count: those of the C
library, the Swift runtime and SQLite depend on the machine's processor and packages. What the program asks of them shows in two more
figures: calls of the Swift runtime and standard library, and allocations, wherever they come from.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import lines

HERE = Path(__file__).resolve().parent
FIGURES = ("instructions", "runtime_calls", "allocations")
# Relative, and what is too little to matter: one runtime call in four lines, one allocation in ten.
TOLERANCE, SLACK = 0.05, {"instructions": 5.0, "runtime_calls": 0.25, "allocations": 0.1}
TIMEOUT = 120
ALLOCATORS = ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc")


@dataclass(frozen=True)
class Row:
    """One program, and what it is fed."""

    name: str
    program: str
    arguments: tuple
    line: object
    counts: tuple = (400, 1200)
    # hub-queue with nodes that are connected, and acknowledge each line once all have been sent.
    acknowledges: bool = False


ROWS = (
    Row("down", "hub-dispatch", ("down",), lines.config_map),
    Row("down-pods", "hub-dispatch", ("down",), lines.pod),
    Row("down-once", "hub-dispatch", ("down",), lines.twin),
    Row("up", "hub-dispatch", ("up", "--feedback", "/dev/null"), lines.report),
    Row("up-acknowledgements", "hub-dispatch", ("up", "--feedback", "/dev/null"), lines.acknowledgement),
    Row("keepalive", "hub-keepalive", ("--control", "/dev/null"), lines.keepalive),
    Row("queue", "hub-queue", ("--state", "{directory}/queue.db"), lines.inner),
    # Nothing may depend on time: no message is repeated, and nobody is asked who is there.
    Row("queue-delivery", "hub-queue",
        ("--state", "{directory}/queue.db", "--feedback", "{directory}/feedback", "--exit-when-drained", "--ack-timeout", "600",
         "--reconcile", "600"),
        lines.inner, acknowledges=True),
)


def own_copy(program, directory):
    """The program without debug information, which valgrind may be too old to read."""
    copy = directory / program.name
    if not copy.exists():
        subprocess.run(["objcopy", "--strip-debug", program, copy], check=True)
    return copy


def run(row, program, count):
    """The figures of one run with `count` lines."""
    with tempfile.TemporaryDirectory(prefix="hub-instructions-") as name:
        directory = Path(name)
        source, profile = directory / "lines", directory / "profile"
        source.write_bytes(b"".join(row.line(number) for number in range(count)))
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={profile}", program,
                   *(word.format(directory=directory) for word in row.arguments)]
        # Hash tables are seeded per process otherwise.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        environment["SWIFT_DETERMINISTIC_HASHING"] = "1"
        with open(source, "rb") as input_file, open(directory / "errors", "w+b") as errors:
            streams = {"stdin": input_file, "stderr": errors, "env": environment}
            if row.acknowledges:
                status = acknowledge(command, directory / "feedback", count, streams)
            else:
                status = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=TIMEOUT, **streams).returncode
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if status != 0:
            raise RuntimeError(f"{row.name}: {row.program} ended with status {status}: {said[-500:]}")
        if "event=reject" in said:
            raise RuntimeError(f"{row.name}: {row.program} refused lines: {said[:200]}")
        return read(profile, program)


def acknowledge(command, path, count, streams):
    """Runs the queue between connected nodes; returns its status."""
    os.mkfifo(path)
    # Both ends, so that neither side waits; the events fit in the pipe, and lie there before the queue looks for its first line.
    feedback = os.open(path, os.O_RDWR)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **streams)
    watch = threading.Timer(TIMEOUT, process.kill)
    watch.start()
    try:
        os.write(feedback, b"".join(lines.connected(number) for number in range(lines.NODES)))
        sent = 0
        for line in process.stdout:
            sent += line.startswith(b'{"hub":{"session":')
            if sent == count:
                break
        for number in range(count):
            os.write(feedback, lines.acknowledgement(number))
        process.stdout.read()
        return process.wait()
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        os.close(feedback)


def read(profile, program):
    """Sums up a profile in callgrind's format (valgrind's manual, "Callgrind Format Specification")."""
    objects, functions = {}, {}
    figures = dict.fromkeys(FIGURES, 0)
    current = called = function = None
    is_call = False

    def name(known, text):
        number, _, value = text.partition(" ")
        return known.setdefault(number, value) if value else known.get(number, "")

    with open(profile, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, equals, value = line.rstrip("\n").partition("=")
            if equals:
                if key == "ob":
                    current = name(objects, value)
                elif key == "fn":
                    name(functions, value)
                    # What a call does not say is as in the function that calls.
                    called = current
                elif key == "cob":
                    called = name(objects, value)
                elif key == "cfn":
                    function = name(functions, value).split("'")[0]
                elif key == "calls":
                    is_call = True
                    times = int(value.split()[0])
                    if function in ALLOCATORS and "libc" in (called or ""):
                        figures["allocations"] += times
                    if current == str(program) and "libswift" in (called or ""):
                        figures["runtime_calls"] += times
                    called = current
            elif is_call:
                # The cost of the call is counted where it is spent.
                is_call = False
            elif current == str(program) and re.match(r"[+\-*0-9]", line):
                figures["instructions"] += int(line.split()[1])
    return figures


def measure(row, programs, directory):
    few, more = row.counts
    program = own_copy(programs / row.program, directory)
    first, second = run(row, program, few), run(row, program, more)
    return {figure: (second[figure] - first[figure]) / (more - few) for figure in FIGURES}


def load(path):
    """Expected figures by row: a table with a heading; lines that begin with # say something about it."""
    table = {}
    for line in path.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name, *values = line.split()
        if name != "row":
            table[name] = dict(zip(FIGURES, map(float, values), strict=True))
    return table


def save(path, table):
    rows = [f"{'row':<20}" + "".join(f"{figure:>15}" for figure in FIGURES)]
    rows += [f"{name:<20}" + "".join(f"{values[figure]:>15.{0 if figure == 'instructions' else 2}f}" for figure in FIGURES)
             for name, values in table.items()]
    path.write_text("# Per line; written by bin/instructions --update.\n" + "\n".join(rows) + "\n")


def judge(name, figure, found, expected):
    """-1, 0 or 1 as the figure is lower than expected, as expected, or higher."""
    margin = max(expected * TOLERANCE, SLACK[figure])
    return (found > expected + margin) - (found < expected - margin)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def main():
    parser = Parser(
        prog="bin/instructions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: bin/instructions --row down --row up\n"
        "status: 0 nothing costs more, 1 something does, 64 wrong usage, 69 something needed is missing, 70 it could not be measured")
    parser.add_argument("--expected", type=Path, default=HERE / "expected", metavar="FILE", help="figures to compare with")
    parser.add_argument("--bin", type=Path, default=HERE.parent.parent / ".build/release", metavar="DIR", help="the programs to measure")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="measure only this one; repeatable")
    parser.add_argument("--update", action="store_true", help="write what was measured to the file")
    options = parser.parse_args()

    expected = load(options.expected) if options.expected.exists() else {}
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    dearer, cheaper, measured = [], [], {}
    directory = Path(tempfile.mkdtemp(prefix="hub-instructions-"))
    try:
        for row in rows:
            known = expected.get(row.name)
            if known is None and not options.update:
                raise RuntimeError(f"{options.expected} has no row {row.name}; bin/instructions --update writes it")
            found = measured[row.name] = measure(row, options.bin, directory)
            print(row.name + ": " + ", ".join(
                f"{found[figure]:.{0 if figure == 'instructions' else 2}f} {figure.replace('_', ' ')}"
                + (f" (expected {known[figure]:g})" if known else "") for figure in FIGURES), flush=True)
            for figure in FIGURES if known else ():
                text = f"{row.name}: {found[figure]:.2f} {figure.replace('_', ' ')} a line, expected {known[figure]:g}"
                {1: dearer, -1: cheaper, 0: []}[judge(row.name, figure, found[figure], known[figure])].append(text)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 70
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if options.update:
        save(options.expected, {row.name: {**expected, **measured}[row.name] for row in ROWS if row.name in {**expected, **measured}})
        return 0
    for text in cheaper:
        print(f"instructions: less than before: {text}; please keep it so with bin/instructions --update", file=sys.stderr)
    for text in dearer:
        print(f"instructions: MORE than before: {text}", file=sys.stderr)
    if dearer:
        print("instructions: if that is worth it, say so with bin/instructions --update", file=sys.stderr)
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
