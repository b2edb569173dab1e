"""Other programs that do one stage's work, side by side with it: what the hub's stages cost above or below what everybody has at hand.

CPU of programs that end is what wait4 says of them and of all that they waited for; of servers it is read before and after.
"""

import os
import shutil
import sqlite3
import subprocess
import time

import accounts
from baseline_servers import serve, tls
from results import Figure, Row


def lines_file(run, count):
    """Plain lines of 1 KB for a hundred nodes, made once."""
    path = run.place / f"lines-{count}"
    if not path.exists():
        with open(path, "wb") as output:
            subprocess.run(
                [run.program("hub-swarm"), "generate", "--nodes", "100", "--count", str(count), "--size", "1024"], stdout=output, check=True)
    return path


def upward_file(run, count):
    """What hub-wsserve writes for messages of a hundred nodes, after the events that they are connected."""
    path = run.place / f"upward-{count}"
    if path.exists():
        return path
    now, pad = int(time.time() * 1000), "x" * 640
    with open(path, "w") as output:
        for node in range(100):
            output.write(f'{{"hub":{{"kind":"event","node":"edge-{node}","session":{node + 1},"event":"connected"}},"header":{{"timestamp":{now}}},"route":{{}}}}\n')
        for number in range(count):
            node = number % 100
            line = (
                f'{{"hub":{{"kind":"up","node":"edge-{node}","session":{node + 1}}},"header":{{"msg_id":"{number:08x}-0000-4000-8000-000000000000",'
                f'"parent_msg_id":"","timestamp":{now},"sync":false}},"route":{{"source":"edged","group":"meta","operation":"update",'
                f'"resource":"default/podstatus/pod-{number % 7}"}},"content":{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"pod-{number % 7}",'
                f'"namespace":"default"}},"status":{{"phase":"Running","message":"{pad}"}}')
            output.write(line + " " * max(0, 1021 - len(line)) + "}}\n")
    return path


def cost(arguments, source, count):
    """What a program costs for each of `count` lines of a file."""
    with open(source, "rb") as lines:
        seconds, user, system = accounts.run_and_account(
            [*map(str, arguments)], stdin=lines, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"cpu_us": (user + system) / count * 1e6, "user_us": user / count * 1e6, "system_us": system / count * 1e6, "rate": count / seconds}


def filters(run):
    count = 20_000 if run.quick else 200_000
    down, up, found, skipped = lines_file(run, count), upward_file(run, count), {}, {}

    def measure(name, arguments, source, number=count):
        found[name] = cost(arguments, source, number)

    for chain in (1, 3, 5):
        measure(f"cat_{chain}", ["sh", "-c", " | ".join(["cat"] * chain)], down)
    if shutil.which("jq"):
        few = count // 10
        measure("jq", ["jq", "-c", "."], lines_file(run, few), few)
    else:
        skipped["jq"] = "no program jq (package jq)"
    measure("down", [run.program("hub-dispatch"), "down"], down)
    measure("keepalive", [run.program("hub-keepalive"), "--control", os.devnull], up)
    measure("up", [run.program("hub-dispatch"), "up", "--feedback", os.devnull], up)
    measure("keepalive_up",
            ["sh", "-c", '"$1" --control /dev/null | "$2" up --feedback /dev/null', "sh", run.program("hub-keepalive"), run.program("hub-dispatch")], up)
    return {**found, "skipped": skipped}


def store(run):
    """Both write all lines into a file that survives a crash, with a commit for each hundred lines or so."""
    count = 20_000 if run.quick else 100_000
    plain, found, skipped = lines_file(run, count), {}, {}
    routed = run.place / f"routed-{count}"
    if not routed.exists():
        with open(plain, "rb") as source, open(routed, "wb") as output:
            subprocess.run([run.program("hub-dispatch"), "down"], stdin=source, stdout=output, stderr=subprocess.DEVNULL, check=True)

    state = run.directory / "queue.db"
    found["hub_queue"] = cost([run.program("hub-queue"), "--state", state], routed, count)
    shown = subprocess.run([run.program("hub-queue"), "nodes", "--state", str(state)], capture_output=True, check=True)
    found["hub_queue"]["rows"] = shown.stdout.count(b"\n")
    if shutil.which("sqlite3"):
        script = run.place / f"inserts-{count}"
        if not script.exists():
            with open(plain) as source, open(script, "w") as output:
                output.write("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;\nCREATE TABLE lines(id INTEGER PRIMARY KEY, line TEXT NOT NULL);\n")
                for number, line in enumerate(source):
                    text = line.rstrip("\n").replace("'", "''")
                    output.write(("BEGIN;\n" if number % 100 == 0 else "") + f"INSERT INTO lines(line) VALUES('{text}');\n"
                                 + ("COMMIT;\n" if number % 100 == 99 else ""))
        target = run.directory / "lines.db"
        found["sqlite3"] = cost(["sqlite3", target], script, count)
        with sqlite3.connect(target) as connection:
            found["sqlite3"]["rows"] = connection.execute("SELECT count(*) FROM lines").fetchone()[0]
    else:
        skipped["sqlite3"] = "no program sqlite3 (package sqlite3)"
    return {**found, "skipped": skipped}


def shown(names, figure="cpu_us", unit="µs"):
    return [Figure(f"{name}.{figure}", label, unit) for name, label in names.items()]


ROWS = [
    Row("baselines-filters", "CPU per line of 1 KB from a file to /dev/null, with others' filters and the hub's.", filters,
        shown({"cat_1": "cat", "cat_3": "cat | cat | cat", "cat_5": "five cats", "jq": "jq -c .", "down": "hub-dispatch down",
               "keepalive": "hub-keepalive", "up": "hub-dispatch up", "keepalive_up": "hub-keepalive | hub-dispatch up"}), {}, (6, 15), "baselines"),
    Row("baselines-serve", "CPU per message of 1 KB to 100 clients over TLS; the client is hub-swarm.", serve,
        [figure for name, label in (("hub_wsserve", "hub-wsserve"), ("websockets", "Python websockets"), ("websocketd", "websocketd"))
         for figure in (Figure(f"{name}.cpu_us", label, "µs"), Figure(f"{name}.rate", "  rate", "messages/s"))], {}, (15, 40), "baselines"),
    Row("baselines-tls", "CPU per mutual TLS 1.3 handshake. Of hub-wsserve it includes the WebSocket upgrade and the events.", tls,
        shown({"s_server": "openssl s_server, full", "s_server_resumed": "openssl s_server, resumed", "hub_wsserve": "hub-wsserve, full",
               "hub_wsserve_resumed": "hub-wsserve, resumed"}, "cpu_ms", "ms"), {}, (15, 25), "baselines"),
    Row("baselines-store", "CPU per line of 1 KB stored durably (WAL, synchronous=FULL), nobody connected. sqlite3 commits each 100 lines.", store,
        [figure for name, label in (("hub_queue", "hub-queue"), ("sqlite3", "sqlite3"))
         for figure in (Figure(f"{name}.cpu_us", label, "µs"), Figure(f"{name}.rate", "  rate", "lines/s"))], {}, (5, 12), "baselines"),
]
