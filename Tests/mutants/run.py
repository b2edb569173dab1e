"""Breaks rules of delivery on purpose, and checks that the model checker and the fault run notice. See `bin/mutants --help`."""

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = ROOT / ".build-mutants"
# Always the same, because a build may depend on its name.
TEMPORARY = SCRATCH / "tmp"
CAUGHT, SURVIVED, USAGE, MISSING, FAILED, INTERRUPTED = 0, 1, 64, 69, 70, 75
# The unbroken tree runs as many schedules at first.
SHORT = 300
# Seconds without an end after which a broken queue counts as caught, and a fault run as failed.
LONGEST_CHECK, LONGEST_FAULTS = 900, 900
PROGRAMS = ("hub-dispatch", "hub-queue", "hub-wsserve", "hub-keepalive", "hub-certs")
MEMORY = Path("/dev/shm")
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

DESCRIPTION = """Shows that the tests of delivery fail when delivery is wrong.

Each mutant breaks one rule of the design with one small change (Tests/mutants/table.py). The tracked files are copied to .build-mutants at the
top of the repository, whose own .build is kept from run to run. The unbroken copy must pass. Then each mutant is applied, built, run
through the model checker (Tests/HubDeliveryTests), and undone; with --faults those that show outside the queue also go through the
fault run (bin/faults). One line each on standard output says what caught it."""

END = """exit status:
   0  every mutant was caught
   1  some mutant survived
  64  wrong usage
  69  something needed is missing
  70  the unbroken tree fails, or a mutant does not fit the sources or does not build
  75  interrupted, or another run is using .build-mutants"""


class Problem(Exception):
    """What makes a result impossible."""


class Interrupted(Exception):
    pass


def parse():
    parser = argparse.ArgumentParser(
        prog="bin/mutants", usage="bin/mutants [--only NAME]… [--faults] [OPTION…]", description=DESCRIPTION, epilog=END,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="this mutant alone; may be given several times")
    parser.add_argument("--faults", action="store_true", help="also run the fault run for the mutants that it can see")
    parser.add_argument("--schedules", type=int, default=3000, help="schedules of the model checker per mutant (default: 3000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first schedule (default: 1)")
    parser.add_argument("--minutes", type=float, default=1, help="length of a fault run (default: 1)")
    parser.add_argument("--fault-seed", type=int, default=1, help="seed of the fault runs (default: 1)")
    parser.add_argument("--list", action="store_true", help="print the mutants and their rules, and end")
    try:
        options = parser.parse_args()
    except SystemExit as ending:
        sys.exit(USAGE if ending.code == 2 else ending.code)
    known = {mutant.name for mutant in MUTANTS}
    unknown = [name for name in options.only or [] if name not in known]
    if unknown or options.schedules < 1 or options.seed < 0 or options.minutes <= 0:
        complain(f"there is no mutant {unknown[0]}; see --list" if unknown else "numbers must be positive")
        sys.exit(USAGE)
    options.mutants = [mutant for mutant in MUTANTS if not options.only or mutant.name in options.only]
    return options


def say(text):
    print(text, flush=True)


def complain(text):
    print(f"mutants: {text}", file=sys.stderr, flush=True)


def shorten(text, length=200):
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


class Child:
    """One command at a time, in a session of its own, so that all of it can be ended."""

    def __init__(self):
        self.process = None

    def run(self, words, seconds, environment=None, patience=10):
        """Returns status and output; the status is None when there was no end within `seconds`."""
        shutil.rmtree(TEMPORARY, ignore_errors=True)
        TEMPORARY.mkdir()
        environment = {"TMPDIR": str(TEMPORARY), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        # A file, because what the command leaves behind could keep a pipe open.
        with tempfile.TemporaryFile() as output:
            # An interruption waits until it is known what must be ended.
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
            self.process = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**{name: value for name, value in os.environ.items() if not name.startswith("HUB_")}, **environment},
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS))
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
                status = self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                self._end(patience)
                # Builds and failed fault runs leave files.
                shutil.rmtree(TEMPORARY, ignore_errors=True)
            output.seek(0)
            return status, output.read().decode(errors="replace")

    def _end(self, patience):
        for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, None)):
            if self.process.poll() is None:
                self._signal(number)
                try:
                    self.process.wait(wait)
                except subprocess.TimeoutExpired:
                    continue
        # Whatever the command started and did not wait for.
        self._signal(signal.SIGKILL)
        self.process = None

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


class Tree:
    """The copy of the sources, and what is run in it."""

    def __init__(self, options):
        self.options = options
        self.child = Child()

    def copy(self):
        """Makes the copy the same as the tracked files; what is the same already is not touched, so that it is not built again."""
        listing = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
        names = {os.fsdecode(name) for name in listing.split(b"\0") if name}
        names = {name for name in names if (ROOT / name).is_file()}
        # Not tracked, but it decides which versions of the packages are built.
        if (ROOT / "Package.resolved").is_file():
            names.add("Package.resolved")
        for name in sorted(names):
            source, target = ROOT / name, SCRATCH / name
            if not target.is_file() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            shutil.copymode(source, target)
        for place, directories, files in os.walk(SCRATCH):
            if Path(place) == SCRATCH:
                directories[:] = [name for name in directories if name not in (".build", TEMPORARY.name)]
                files = [name for name in files if name not in ("lock", "Package.resolved")]
            for name in files:
                if str((Path(place) / name).relative_to(SCRATCH)) not in names:
                    (Path(place) / name).unlink()

    def build(self, products):
        """Returns why it cannot be built, or None."""
        for product in products:
            status, output = self.child.run(["swift", "build", "--package-path", SCRATCH, *product], 3600)
            if status != 0:
                errors = [line for line in output.splitlines() if "error:" in line]
                return shorten(errors[0] if errors else output[-300:])
        return None

    def build_tests(self):
        return self.build([["--product", "hubPackageTests"]])

    def build_programs(self, names=PROGRAMS):
        return self.build([["--product", name] for name in names])

    def check(self, schedules):
        """Runs the model checker; returns what it found, or None."""
        with tempfile.TemporaryDirectory(prefix="hub-mutants-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as place:
            status, output = self.child.run(
                ["swift", "test", "--package-path", SCRATCH, "--skip-build", "--filter", "ModelTests"], LONGEST_CHECK, {
                    "HUB_MODEL_SEED": str(self.options.seed), "HUB_MODEL_SCHEDULES": str(schedules), "HUB_MODEL_DIRECTORY": place})
        if status is None:
            return None, f"it did not end within {LONGEST_CHECK} s"
        found = re.findall(r"↳ ((?:(?!↳).)*?)\n\W*to repeat: HUB_MODEL_SEED=(\d+)", output, re.DOTALL)
        if found:
            rule, seed = min(found, key=lambda item: int(item[1]))
            return int(seed) - self.options.seed + 1, shorten(rule)
        if status == 0:
            if not re.search(r"Test run with [1-9]\d* test", output):
                raise Problem("swift test ran no test of that name")
            return None
        crash = [line for line in output.splitlines() if "Fatal error" in line or "signal" in line]
        return None, shorten(crash[0] if crash else output[-300:])

    def endure(self):
        """Runs the fault run; returns the rules that it found broken, or None."""
        status, output = self.child.run(
            [sys.executable, SCRATCH / "Tests/faults/run.py", "--bin", SCRATCH / ".build/debug", "--minutes", self.options.minutes,
             "--seed", self.options.fault_seed], LONGEST_FAULTS, patience=60)
        if status == 0:
            return None
        broken = re.findall(r"^BROKEN (.*)\n(?:  (.*))?", output, re.MULTILINE)
        if status != 1 or not broken:
            raise Problem(f"the fault run ended with status {status}: {shorten(output[-300:])}")
        return shorten("; ".join(f"{rule} ({example})" if example else rule for rule, example in broken), 300)


def fits(mutant):
    """The path of the file in the tree, once it is sure that the mutant fits it."""
    try:
        count = (ROOT / mutant.file).read_text().count(mutant.old)
    except OSError as problem:
        raise Problem(f"{mutant.file} cannot be read: {problem.strerror}") from None
    if count != 1:
        raise Problem(f"the text to be replaced occurs {count} times in {mutant.file}, not once")


class Run:
    def __init__(self, options):
        self.options = options
        self.tree = Tree(options)
        self.survivors, self.problems = [], []

    def unbroken(self):
        schedules = min(SHORT, self.options.schedules)
        problem = self.tree.build_tests()
        if problem:
            raise Problem(f"the unbroken tree does not build: {problem}")
        begun = time.monotonic()
        found = self.tree.check(schedules)
        if found:
            raise Problem(f"the model checker finds fault with the unbroken tree: {found[1]}")
        say(f"unbroken: passes {schedules} schedules in {time.monotonic() - begun:.1f} s")
        if not self.options.faults or not any(mutant.is_visible for mutant in self.options.mutants):
            return
        problem = self.tree.build_programs()
        if problem:
            raise Problem(f"the unbroken tree does not build: {problem}")
        begun = time.monotonic()
        broken = self.tree.endure()
        if broken:
            raise Problem(f"the fault run finds fault with the unbroken tree: {broken}")
        say(f"unbroken: passes the fault run in {time.monotonic() - begun:.0f} s")

    def mutant(self, mutant):
        path = SCRATCH / mutant.file
        whole = path.read_text()
        path.write_text(whole.replace(mutant.old, mutant.new))
        try:
            problem = self.tree.build_tests()
            if problem:
                raise Problem(f"it does not build: {problem}")
            begun = time.monotonic()
            found = self.tree.check(self.options.schedules)
            if found is None:
                self._survived(mutant, f"{self.options.schedules} schedules of the model checker")
            else:
                schedule, rule = found
                by = f"schedule {schedule}" if schedule else "a crash"
                say(f"{mutant.name}: caught by {by} after {time.monotonic() - begun:.1f} s: {rule}")
            if not self.options.faults or not mutant.is_visible:
                return
            # Of the programs only this one holds the queue.
            problem = self.tree.build_programs(["hub-queue"])
            if problem:
                raise Problem(f"it does not build: {problem}")
            begun = time.monotonic()
            broken = self.tree.endure()
            if broken is None:
                self._survived(mutant, "the fault run")
            else:
                say(f"{mutant.name}: caught by the fault run after {time.monotonic() - begun:.0f} s: {broken}")
        finally:
            path.write_text(whole)

    def _survived(self, mutant, what):
        self.survivors.append(mutant.name)
        say(f"{mutant.name}: SURVIVED {what}. {mutant.rule}")

    def go(self):
        # What does not fit shows before the first build.
        for mutant in self.options.mutants:
            try:
                fits(mutant)
            except Problem as problem:
                self._problem(mutant, problem)
        if self.problems:
            return FAILED
        self.tree.copy()
        self.unbroken()
        for mutant in self.options.mutants:
            try:
                self.mutant(mutant)
            except Problem as problem:
                self._problem(mutant, problem)
        count = len(self.options.mutants)
        caught = count - len(set(self.survivors) | set(self.problems))
        say(f"{caught} of {count} caught" + (f"; survived: {' '.join(dict.fromkeys(self.survivors))}" if self.survivors else ""))
        return FAILED if self.problems else SURVIVED if self.survivors else CAUGHT

    def _problem(self, mutant, problem):
        self.problems.append(mutant.name)
        complain(f"{mutant.name}: {problem}")


def interrupt(*_):
    # Once: what is tidied up now must not be interrupted again.
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted


def main():
    options = parse()
    if options.list:
        for mutant in MUTANTS:
            print(f"{mutant.name}{' (visible to the fault run)' if mutant.is_visible else ''}: {mutant.rule}")
        return CAUGHT
    SCRATCH.mkdir(exist_ok=True)
    with open(SCRATCH / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            complain("another run is using .build-mutants")
            return INTERRUPTED
        for number in ENDINGS:
            signal.signal(number, interrupt)
        try:
            return Run(options).go()
        except Interrupted:
            complain("interrupted")
            return INTERRUPTED
        except Problem as problem:
            complain(str(problem))
            return FAILED
        except (OSError, subprocess.CalledProcessError) as problem:
            complain(str(problem))
            return MISSING if isinstance(problem, FileNotFoundError) else FAILED


if __name__ == "__main__":
    sys.exit(main())
