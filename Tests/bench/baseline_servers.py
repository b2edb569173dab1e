"""The rows that set hub-wsserve beside other servers: WebSocket messages to a hundred clients, and TLS handshakes."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import accounts
from running import figures, free_port, wait_connected

NODES = 100


def prepared(run):
    """The directories of the hub's and of the edges' certificates. A hub signs them, once."""
    run.certificates(NODES)
    return run.place / "certificates", run.place / "edges"


def swarm(run, port, *arguments):
    edges = run.place / "edges"
    return run.start([run.program("hub-swarm"), *arguments, "--hub", f"127.0.0.1:{port}", "--cert-dir", edges, "--nodes", NODES],
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition, process, what):
    deadline = time.monotonic() + 20
    while not (value := condition()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what} does not listen")
        time.sleep(0.05)
    return value


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def number_in(path):
    return int(path.read_text()) if path.exists() and path.read_text().strip() else 0


def wsserve(run, certificates, **options):
    """hub-wsserve alone, and its port."""
    port_file = run.directory / f"port-{time.monotonic_ns()}"
    server = run.start([run.program("hub-wsserve"), "--dir", certificates, "--listen", "127.0.0.1:0", "--print-port", port_file],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return server, wait_for(lambda: number_in(port_file), server, "hub-wsserve")


def serve(run):
    """Each server sends lines that it reads from a file; it may begin once all clients are connected."""
    certificates, _ = prepared(run)
    count = 20_000 if run.quick else 100_000
    lines = run.directory / "lines"
    with open(lines, "wb") as output:
        subprocess.run([run.program("hub-swarm"), "generate", "--nodes", str(NODES), "--count", str(count), "--size", "1024", "--lane", "once"],
                       stdout=output, check=True)
    found, skipped = {}, {}

    def measure(name, server, port, go):
        sink = swarm(run, port, "sink", "--count", count, "--idle", 20)
        wait_connected(NODES, sink)
        time.sleep(0.5)
        before = accounts.of_tree(server.pid)
        go()
        # Children of the server end with their connections, so the books are read while they live.
        used = before
        while sink.poll() is None:
            used = max(used, accounts.of_tree(server.pid))
            time.sleep(0.02)
        out = figures(sink)
        used = max(used, accounts.of_tree(server.pid))
        found[name] = {"cpu_us": (used - before) / count * 1e6, "rate": out["rate"], "distinct": out["distinct"]}
        server.terminate()
        server.wait(20)

    server, port = wsserve(run, certificates, stdin=subprocess.PIPE)

    def pour():
        with open(lines, "rb") as source:
            shutil.copyfileobj(source, server.stdin, 1 << 16)
            server.stdin.flush()

    measure("hub_wsserve", server, port, pour)

    go = run.directory / "go"
    port_file = run.directory / "port-websockets"
    try:
        import websockets  # noqa: F401
    except ImportError:
        skipped["websockets"] = "no Python package websockets"
    else:
        server = run.start([sys.executable, Path(__file__).parent / "websockets_server.py", certificates, lines, port_file, go])
        measure("websockets", server, wait_for(lambda: number_in(port_file), server, "websockets"), go.touch)
        go.unlink()
    if shutil.which("websocketd"):
        # Each connection has a process of its own, which here prints its share of the lines.
        share = run.directory / "share"
        with open(lines, "rb") as source, open(share, "wb") as output:
            for _ in range(count // NODES):
                output.write(source.readline())
        port = free_port()
        server = run.start(
            ["websocketd", "--address=127.0.0.1", f"--port={port}", "--ssl", f"--sslcert={certificates / 'server.crt'}",
             f"--sslkey={certificates / 'server.key'}", "--loglevel=fatal", "sh", "-c",
             'while ! [ -e "$1" ]; do sleep 0.2; done; cat "$2"; exec sleep 60', "sh", go, share], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(port), server, "websocketd")
        measure("websocketd", server, port, go.touch)
    else:
        skipped["websocketd"] = "no program websocketd (package websocketd)"
    return {**found, "skipped": skipped}


def tls(run):
    """`openssl s_time` makes handshakes one after the other for some seconds; hub-swarm makes so many rounds with a hundred nodes."""
    certificates, edges = prepared(run)
    seconds, rounds, found, skipped = 3 if run.quick else 5, 4 if run.quick else 8, {}, {}
    server, port = wsserve(run, certificates, stdin=subprocess.PIPE)
    start = accounts.of_tree(server.pid)
    figures(swarm(run, port, "connect", "--rounds", rounds))
    middle = accounts.of_tree(server.pid)
    figures(swarm(run, port, "connect", "--rounds", rounds, "--resume"))
    one = (middle - start) / (NODES * rounds)
    again = (accounts.of_tree(server.pid) - middle - one * NODES) / (NODES * (rounds - 1))
    found["hub_wsserve"], found["hub_wsserve_resumed"] = {"cpu_ms": one * 1e3}, {"cpu_ms": again * 1e3}
    server.terminate()
    server.wait(20)
    if not shutil.which("openssl"):
        return {**found, "skipped": {"s_server": "no program openssl (package openssl)"}}
    for name, kind in (("s_server", "-new"), ("s_server_resumed", "-reuse")):
        port = free_port()
        server = run.start(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificates / "server.crt", "-key", certificates / "server.key",
             "-CAfile", certificates / "rootCA.crt", "-Verify", "3", "-verify_return_error", "-tls1_3", "-www", "-quiet"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(port), server, "openssl s_server")
        before = accounts.of_tree(server.pid)
        # Asking for a page makes the client read, so that it gets the tickets that come after the handshake.
        timed = subprocess.run(
            ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", kind, "-time", str(seconds), "-www", "/", "-tls1_3", "-cert", edges / "edge-0.crt",
             "-key", edges / "edge-0.key", "-CAfile", edges / "rootCA.crt"], capture_output=True, text=True, timeout=seconds + 30)
        used = accounts.of_tree(server.pid) - before
        counts = [line.split()[0] for line in timed.stdout.splitlines() if "connections in" in line and "real seconds" in line]
        if timed.returncode != 0 or not counts or int(counts[0]) == 0:
            skipped[name] = f"s_time failed: {(timed.stderr or timed.stdout).strip()[-100:]}"
        else:
            found[name] = {"cpu_ms": used / int(counts[0]) * 1e3, "connections": int(counts[0]), "note": timed.stdout[-60:]}
        server.terminate()
        server.wait(20)
    return {**found, "skipped": skipped}
