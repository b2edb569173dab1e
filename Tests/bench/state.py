"""The rows about full state files: CPU per acknowledged message while the file already knows many acknowledged versions."""

import shutil
import sqlite3
import subprocess
import time

from results import Figure, Row
from rows import CPU, MEMORY, RATE, delivered, latencies

# The nodes of the rows, and those that have the most versions; each node has a hundred.
NODES = 100
PER_NODE = 100


def make(run, versions):
    """A state file with so many acknowledged versions; `hub-queue` makes the tables, so that they are its own."""
    kept = run.place / f"state-{versions}.db"
    if kept.exists():
        return kept
    subprocess.run([run.program("hub-queue"), "--state", str(kept)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)
    connection = sqlite3.connect(kept, isolation_level=None)
    for pragma in ("journal_mode=DELETE", "journal_mode=OFF", "synchronous=OFF", "cache_size=-200000", "locking_mode=EXCLUSIVE"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    each = max(PER_NODE, versions // 100_000)
    nodes = max(NODES, versions // each)
    connection.execute("BEGIN")
    connection.execute(
        "WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < ? - 1) "
        "INSERT INTO nodes(id, name) SELECT n + 1, 'edge-' || n FROM number", (nodes,))
    if versions:
        # In the order of the primary key: appended, not sorted in. Keys are UUIDs, as Kubernetes has them.
        connection.execute(
            "WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < ? - 1) "
            "INSERT INTO acknowledged(node, key, version, object) SELECT n / ? + 1, printf('%08x-0000-4000-8000-%012x', n % ?, n), "
            "CAST(n AS TEXT), printf('{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"namespace\":\"default\",\"name\":\"old-%d\"}', n % ?) "
            "FROM number", (versions, each, each, each))
    connection.execute("COMMIT")
    connection.close()
    return kept


def known(run, versions):
    begun = time.monotonic()
    made = make(run, versions)
    making, state = time.monotonic() - begun, run.directory / "state.db"
    shutil.copyfile(made, state)
    begun = time.monotonic()
    hub = run.hub(state=state)
    opened = time.monotonic() - begun
    found = delivered(hub, NODES, 20_000 if run.quick else 100_000, idle=30)
    return {**found, "queue_us": found["by_stage_us"]["queue"], "queue_mb": found["by_stage_mb"]["queue"], "file_mb": made.stat().st_size / 1e6,
            "open_seconds": opened, "making_seconds": making, "versions": versions}


def rows(numbers):
    shown_figures = [*CPU, Figure("queue_us", "  of it hub-queue", "µs"), RATE, *latencies(), Figure("queue_mb", "resident, hub-queue", "MB"), MEMORY,
                     Figure("file_mb", "state file", "MB"), Figure("open_seconds", "start of the hub", "s")]
    return [Row(f"state-{versions}", f"{versions:,} acknowledged versions in the state file; 100 nodes, 1 KB.",
                lambda run, versions=versions: known(run, versions), shown_figures, {}, (10 + versions // 400_000, 17 + versions // 400_000), "state")
            for versions in numbers]
