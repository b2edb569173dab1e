"""Attacks a running hub, one input after the other, and prints what it did and what it cost. Called by bin/hostile."""

import argparse
import json
import os
import re
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))


def arguments():
    parser = argparse.ArgumentParser(
        prog="bin/hostile", description="Starts the hub, attacks it on the loopback address while an honest node goes on, and prints a table.",
        epilog="example: bin/hostile --only 'fragments|half-open'\n\nStatus: 0 every input did what it should, 1 one did not, 64 wrong usage, "
        "69 something is missing.", formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small numbers, half a minute")
    parser.add_argument("--only", metavar="PATTERN", help="inputs whose description matches this regular expression")
    parser.add_argument("--json", action="store_true", help="one JSON object per input instead of a table")
    parser.add_argument("--patience", type=float, default=1.0, help="seconds that the honest node may wait for anything (default: 1)")
    parser.add_argument("--list", action="store_true", help="print the inputs and end")
    return parser.parse_args()


def markdown(row):
    honest = " / ".join(f"{row.honest.get(what, 0):.0f}" for what in ("ask", "connect", "fetch"))
    memory = f"{row.before:.0f} → {row.peak:.0f} / {row.after:.0f}"
    return f"| {row.input} | {row.outcome}{' **' + '; '.join(row.problems) + '**' if row.problems else ''} | {memory} | {honest} |"


def main():
    options = arguments()
    from cases import CASES

    chosen = [case for case in CASES if not options.only or re.search(options.only, case.title(options.quick))]
    if options.quick and not options.only:
        chosen = [case for case in chosen if not case.is_long]
    if options.list or not chosen:
        print(*(case.title(options.quick) for case in chosen), sep="\n")
        return 0 if chosen else 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    from attack import Ground
    from conftest import Hub

    failed = False
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory:
        hub = Hub(Path(directory) / "hub")
        try:
            ground = Ground(hub, Path(directory) / "edges", options.quick)
            try:
                if not options.json:
                    print("| input | what the hub did | memory before → peak / after, MB | honest node: answer / connect / CA, at most ms |", flush=True)
                    print("|---|---|---|---|", flush=True)
                for case in chosen:
                    row = ground.play(case, options.patience)
                    failed = failed or bool(row.problems)
                    print(json.dumps(asdict(row)) if options.json else markdown(row), flush=True)
            finally:
                ground.stop()
            status = hub.stop(30)
            if status != 0:
                print(f"the hub ended with status {status}", file=sys.stderr)
                failed = True
        finally:
            hub.kill()
            if failed:
                log = Path(os.environ.get("TMPDIR", "/tmp")) / "hostile.log"
                log.write_bytes(b"".join(hub.errors))
                print(f"the hub's log is in {log}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
