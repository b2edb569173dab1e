"""Connected edges through changes of the server certificate, of the CA and through a revocation: none that is entitled is dropped, all end
with a certificate of the new CA. Counted by what hub-wsserve itself says about its sessions.

    ROTATION_EDGES=1000 HUB_BIN_DIR=.build/release pytest -s Tests/blackbox/test_rotation.py

plays it with a thousand edges and prints times and processor seconds.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import time

from certs_kit import CERTS, Server, prepare
from conftest import Process, program, run, wait_until

EDGES = int(os.environ.get("ROTATION_EDGES", "30"))
PATIENCE = 20 + EDGES / 10


class Measured:
    """Time and processor seconds of the hub's two programs, step by step."""

    def __init__(self, **processes):
        self.processes = processes
        self.rows = []

    def read(self):
        used = {}
        for name, process in self.processes.items():
            fields = open(f"/proc/{process.process.pid}/stat").read().rpartition(")")[2].split()
            used[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), used

    def step(self, name, body):
        start, before = self.read()
        body()
        end, after = self.read()
        self.rows.append((name, end - start, {key: after[key] - before[key] for key in after}))

    def print(self):
        for name, seconds, used in self.rows:
            print(f"{name:28} {seconds:7.2f} s   " + "  ".join(f"{key} {value:6.2f} CPU s" for key, value in used.items()))


class Events:
    """What hub-wsserve has said about sessions, from one look to the next."""

    def __init__(self, process):
        self.process = process
        self.seen = 0

    def take(self):
        messages = [json.loads(line) for line in self.process.lines[self.seen :]]
        self.seen += len(messages)
        hubs = [message["hub"] for message in messages if not message["hub"].get("again")]
        return [(hub["event"], hub["node"], hub.get("reason")) for hub in hubs if hub.get("event") in ("connected", "disconnected")]

    def wait(self, event, count):
        found = []

        def enough():
            found.extend(self.take())
            return sum(each[0] == event for each in found) >= count

        wait_until(enough, PATIENCE, f"{count} times {event}")
        return found


def hang_up(*processes):
    before = [sum(b"event=reloaded" in line for line in process.errors) for process in processes]
    for process in processes:
        process.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: all(sum(b"event=reloaded" in line for line in process.errors) > count for process, count in zip(processes, before)),
        PATIENCE, "the reloads",
    )  # fmt: skip


def rotate(home, *arguments, status=0):
    done = run([CERTS, "rotate-ca", *arguments, "--dir", str(home)])
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_edges_stay_connected_while_certificates_change(tmp_path):
    home = tmp_path / "hub"
    prepare(home, "--advertise", "127.0.0.1")
    certs = Server(home, "--node-rate", "100")
    wss_port = tmp_path / "wss"
    wsserve = Process(
        [program("hub-wsserve"), "--dir", str(home), "--listen", "127.0.0.1:0", "--print-port", str(wss_port)]
    )
    swarms = []
    try:
        wait_until(wss_port.exists, what="the port")
        port = int(wss_port.read_text())
        events = Events(wsserve)
        measured = Measured(wsserve=wsserve, certs=certs.process)
        both = (wsserve, certs.process)
        half = EDGES // 2

        def names():
            context = ssl.create_default_context(cafile=home / "rootCA.crt")
            with socket.create_connection(("127.0.0.1", port), 20) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                return {value for _, value in tls.getpeercert()["subjectAltName"]}

        def join():
            # The first half does as EdgeCore does and never fetches the CA again, the second half does.
            for first, count, options in ((0, half, []), (half, EDGES - half, ["--refetch-ca"])):
                swarms.append(
                    Process(
                        [
                            program("hub-swarm"), "connect", "--hub", f"127.0.0.1:{port}", "--certs-url", f"https://127.0.0.1:{certs.port}",
                            "--token-file", str(home / "token"), "--cert-dir", str(tmp_path / f"edges-{first}"), "--nodes", str(count),
                            "--first", str(first), "--hold", "3600", "--reconnect", *options,
                        ],
                        stdin=subprocess.DEVNULL,
                    )  # fmt: skip
                )
            assert len(events.wait("connected", EDGES)) == EDGES

        def quietly(body):
            def step():
                body()
                hang_up(*both)
                # What a reload would end has ended by now.
                time.sleep(1)
                assert events.take() == []

            return step

        measured.step("join and connect", join)
        measured.step("new server certificate", quietly(lambda: prepare(home, "--advertise", "127.0.0.1", "--dns", "second.example")))
        assert "second.example" in names()
        measured.step("rotate-ca begin", quietly(lambda: rotate(home, "begin")))
        measured.step("rotate-ca switch", quietly(lambda: rotate(home, "switch")))
        assert [(row["role"], row["nodes"]) for row in rotate(home, "status")] == [("signing", 0), ("old", EDGES)]
        rotate(home, "finish", status=75)

        def renew():
            for swarm in swarms:
                swarm.process.send_signal(signal.SIGHUP)
            for swarm in swarms:
                swarm.wait_errors(b"event=renewed", PATIENCE)
            found = events.wait("connected", EDGES)
            # Each edge closed its own connection, once, to come back with the new certificate.
            nodes = sorted(f"edge-{number}" for number in range(EDGES))
            assert sorted(node for event, node, _ in found if event == "connected") == nodes
            assert sorted((node, reason) for event, node, reason in found if event == "disconnected") == [
                (node, "closed by peer") for node in nodes
            ]

        measured.step("all edges renew, reconnect", renew)
        for swarm, count in zip(swarms, (half, EDGES - half)):
            line = next(line for line in swarm.wait_errors(b"event=renewed") if b"event=renewed" in line)
            assert b"nodes=%d " % count in line and b"refused=0" in line
        assert [(row["role"], row["nodes"]) for row in rotate(home, "status")] == [("signing", EDGES), ("old", 0)]

        def revoke():
            assert run([CERTS, "revoke", "edge-0", "--dir", str(home)]).returncode == 0
            hang_up(*both)
            time.sleep(1)
            assert events.take() == [("disconnected", "edge-0", "certificate revoked")]

        measured.step("revoke one", revoke)
        measured.step("rotate-ca finish", quietly(lambda: rotate(home, "finish")))
        measured.step("new server certificate", quietly(lambda: prepare(home, "--advertise", "127.0.0.1", "--dns", "third.example")))
        assert "third.example" in names()
        # The revoked one tries again and again.
        wsserve.wait_errors(b'node=edge-0 reason="certificate revoked"')
        wsserve.write(b'{"hub":{"kind":"event","event":"who"},"header":{"msg_id":"end"},"route":{},"content":{}}\n')
        wsserve.wait_message(lambda message: message["hub"].get("event") == "live")
        live = {message["hub"]["node"] for message in wsserve.messages() if message["hub"].get("again")}
        assert live == {f"edge-{number}" for number in range(1, EDGES)}
        print()
        measured.print()
        status = open(f"/proc/{wsserve.process.pid}/status").read()
        print(f"hub-wsserve, {EDGES} edges: " + next(line for line in status.splitlines() if line.startswith("VmRSS")))
    finally:
        everything = [*swarms, wsserve, certs.process]
        for process in everything:
            process.process.terminate()
        try:
            statuses = [process.wait(60) for process in everything]
        finally:
            for process in everything:
                process.kill()
    assert statuses == [0] * len(everything)


def test_a_revocation_reaches_a_whole_hub_by_sighup(hub):
    edges = [hub.connect("edge-0"), hub.connect("edge-1")]
    for edge in edges:
        hub.wait_message(lambda message: message["route"]["operation"] == "connected" and message["route"]["resource"] == f"node/{edge.node}")
    assert run([CERTS, "revoke", "edge-0", "--dir", str(hub.directory)]).returncode == 0
    hub.process.send_signal(signal.SIGHUP)
    hub.wait_message(lambda message: message["route"]["operation"] == "disconnected" and message["route"]["resource"] == "node/edge-0")
    hub.wait_errors(b'reason="certificate revoked"')
    assert not any(message["route"]["resource"] == "node/edge-1" and message["route"]["operation"] == "disconnected" for message in hub.messages())
