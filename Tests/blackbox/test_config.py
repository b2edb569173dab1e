"""`--config`: a KubeEdge cloudcore.yaml as the layer between environment and default, in each program, in `hub run` and `hub check-config`."""

import json
import os
import socket
import time

import pytest

from certs_kit import openssl
from conftest import BIN, ROOT, Hub, Process, leftovers, line, program, run, wait_until
from test_queue_kit import event

HUB = str(ROOT / "bin" / "hub")
ENVIRONMENT = {**os.environ, "HUB_BIN_DIR": str(BIN)}

# What `cloudcore --defaultconfig` of KubeEdge says, as far as it has a say in the type (default.go); the buffers are shortened.
DEFAULTS = """\
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
commonConfig:
  monitorServer: {bindAddress: 127.0.0.1:9091}
  tunnelPort: 10350
kubeAPIConfig: {burst: 5000, contentType: application/vnd.kubernetes.protobuf, kubeConfig: "", master: "", qps: 2500}
modules:
  cloudHub:
    advertiseAddress:
    - 192.0.2.7
    authorization:
      debug: true
      enable: false
      modes:
      - node:
          enable: true
    dnsNames:
    - ""
    edgeCertSigningDuration: 365
    enable: true
    https: {address: 0.0.0.0, enable: true, port: 10002}
    keepaliveInterval: 30
    nodeLimit: 500
    quic: {address: 0.0.0.0, enable: false, maxIncomingStreams: 10000, port: 10001}
    tlsCAFile: /etc/kubeedge/ca/rootCA.crt
    tlsCAKeyFile: /etc/kubeedge/ca/rootCA.key
    tlsCertFile: /etc/kubeedge/certs/server.crt
    tlsPrivateKeyFile: /etc/kubeedge/certs/server.key
    tokenRefreshDuration: 12
    unixsocket: {address: "unix:///var/lib/kubeedge/kubeedge.sock", enable: true}
    websocket: {address: 0.0.0.0, enable: true, port: 10000}
    writeTimeout: 30
  cloudStream: {enable: false, streamPort: 10003, tunnelPort: 10004}
  deviceController: {buffer: {deviceEvent: 1}, enable: true}
  dynamicController: {enable: false}
  edgeController: {buffer: {createLease: 1524}, enable: true, load: {createLeaseWorkers: 500}, nodeUpdateFrequency: 10}
  iptablesManager: {enable: true, mode: internal}
  router: {address: 0.0.0.0, enable: false, port: 9443, restTimeout: 60}
  syncController: {enable: true}
  taskManager: {enable: false}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def config(directory, *lines):
    """A file with these lines under cloudHub, and its path."""
    path = directory / "cloudcore.yaml"
    path.write_text("modules:\n  cloudHub:\n" + "".join(f"    {part}\n" for part in lines))
    return str(path)


def check(path, *options):
    return run([HUB, "check-config", str(path), *options], env=ENVIRONMENT)


def rows(path):
    done = check(path, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(part) for part in done.stdout.splitlines()]


# ------------------------------------------------------------------------------------------------------------------ precedence


def listening(arguments, environment, tmp_path):
    """The port of the `listening` line."""
    process = Process(arguments, env={**os.environ, **environment}, cwd=tmp_path)
    try:
        lines = process.wait_errors(b"event=listening")
        assert process.stop() == 0
        return int(next(part for part in lines if b"event=listening" in part).split(b"port=")[1].split()[0])
    finally:
        process.kill()


@pytest.mark.parametrize("name, variable, key", [("hub-wsserve", "HUB_LISTEN", "websocket"), ("hub-certs", "HUB_CERTS_LISTEN", "https")])
def test_option_then_environment_then_file(name, variable, key, tmp_path):
    home = tmp_path / "home"
    arguments = [program(name)] + (["--insecure"] if name == "hub-wsserve" else ["serve", "--dir", str(home)])
    if name == "hub-certs":
        assert run([program(name), "prepare", "--dir", str(home)]).returncode == 0
    of_file, of_environment, of_option = free_port(), free_port(), free_port()
    path = config(tmp_path, f"{key}: {{address: 127.0.0.1, port: {of_file}}}")
    environment = {variable: f"127.0.0.1:{of_environment}"}
    option = ["--listen", f"127.0.0.1:{of_option}"]
    assert listening([*arguments, "--config", path], {}, tmp_path) == of_file
    assert listening(arguments, {"HUB_CONFIG": path}, tmp_path) == of_file
    assert listening([*arguments, f"--config={path}"], environment, tmp_path) == of_environment
    assert listening([*arguments, "--config", path, *option], environment, tmp_path) == of_option
    assert listening([*arguments, *option], {}, tmp_path) == of_option


def closes(tmp_path, *options, **environment):
    """Whether hub-keepalive closes a node that is silent for a second and a half."""
    control = tmp_path / "control"
    control.unlink(missing_ok=True)
    process = Process([program("hub-keepalive"), "--control", str(control), *options], env={**os.environ, **environment})
    try:
        process.write(event("connected", "edge-0", 1))
        process.wait_lines(lambda lines: lines)
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline and b'"close"' not in control.read_bytes():
            time.sleep(0.05)
        assert process.stop() == 0
        return b'"close"' in control.read_bytes()
    finally:
        process.kill()


def test_keepalive_interval(tmp_path):
    path = config(tmp_path, "keepaliveInterval: 1")
    assert not closes(tmp_path)
    assert closes(tmp_path, "--config", path)
    assert not closes(tmp_path, "--config", path, HUB_TIMEOUT="60")
    assert closes(tmp_path, "--config", path, "--timeout", "0.1", HUB_TIMEOUT="60")


FOREIGN = line(
    {"msg_id": "1", "timestamp": 1}, {"source": "edged", "group": "resource", "operation": "update", "resource": "node/edge-1/default/node/edge-1"}, {}
)


def refuses(tmp_path, *options, **environment):
    """Whether a node may say something about another one."""
    said = b'{"hub":{"kind":"up","node":"edge-0","session":1},' + FOREIGN[1:].replace(b"node/edge-1/default", b"default")
    done = run([program("hub-dispatch"), "up", "--feedback", os.devnull, *options], said, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout == b""


def test_authorization(tmp_path):
    enforced = config(tmp_path, "authorization: {enable: true, debug: false}")
    assert not refuses(tmp_path)
    assert refuses(tmp_path, "--config", enforced)
    assert not refuses(tmp_path, "--config", enforced, "--policy-dry-run", HUB_POLICY="node")
    assert not refuses(tmp_path, "--config", enforced, HUB_POLICY="open")
    assert refuses(tmp_path, "--config", enforced, "--policy", "node", HUB_POLICY="open")
    assert not refuses(tmp_path, "--config", enforced, HUB_POLICY_DRY_RUN="true")
    assert refuses(tmp_path, "--config", enforced, "--no-policy-dry-run", HUB_POLICY_DRY_RUN="true")
    observed = config(tmp_path, "authorization: {enable: true}")
    assert not refuses(tmp_path, "--config", observed), "as in KubeEdge, debug is on unless it is off"
    assert not refuses(tmp_path, "--config", observed, "--policy", "open")


def names(path):
    text = openssl("x509", "-in", str(path), "-noout", "-ext", "subjectAltName").decode()
    return sorted(part.strip() for part in text.splitlines()[1].split(","))


def test_names_and_places_of_certificates(tmp_path):
    places = {"tlsCAFile": "ca/rootCA.crt", "tlsCAKeyFile": "ca/rootCA.key", "tlsCertFile": "certs/server.crt", "tlsPrivateKeyFile": "certs/server.key"}
    path = config(
        tmp_path, *(f"{key}: {tmp_path}/{place}" for key, place in places.items()), "advertiseAddress: [192.0.2.7]", "dnsNames: [hub.example.com, '']"
    )
    prepare = [program("hub-certs"), "prepare", "--dir", str(tmp_path / "home"), "--config", path]
    assert run(prepare).returncode == 0
    assert sorted(str(found.relative_to(tmp_path)) for part in ("ca", "certs") for found in (tmp_path / part).iterdir()) == sorted(places.values())
    assert sorted(found.name for found in (tmp_path / "home").iterdir()) == [".lock", "token"]
    server = tmp_path / "certs" / "server.crt"
    assert names(server) == ["DNS:hub.example.com", "IP Address:192.0.2.7"]
    assert run(prepare, env={**os.environ, "HUB_DNS": "a.example.com,b.example.com"}).returncode == 0
    assert names(server) == ["DNS:a.example.com", "DNS:b.example.com", "IP Address:192.0.2.7"]
    assert run([*prepare, "--dns", "c.example.com"], env={**os.environ, "HUB_DNS": "a.example.com"}).returncode == 0
    assert names(server) == ["DNS:c.example.com", "IP Address:192.0.2.7"]
    # What is revoked is listed where hub-wsserve looks for it.
    assert run([program("hub-certs"), "revoke", "edge-7", "--dir", str(tmp_path / "home"), "--config", path]).returncode == 0
    assert (tmp_path / "ca" / "revoked.jsonl").exists()
    # An authority that is elsewhere.
    (tmp_path / "ca" / "rootCA.key").rename(tmp_path / "elsewhere.key")
    assert run(prepare).returncode == 78
    assert run([*prepare, "--authority-elsewhere"]).returncode == 0
    assert not (tmp_path / "ca" / "rootCA.key").exists()
    port = tmp_path / "port"
    served = Process([program("hub-wsserve"), "--config", path, "--listen", "127.0.0.1:0", "--print-port", str(port)])
    try:
        served.wait_errors(b"tls=true")
        assert served.stop() == 0
    finally:
        served.kill()


def life_of_token(home, *options, **environment):
    import base64

    done = run([program("hub-certs"), "token", "--dir", str(home), *options], env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    claims = done.stdout.split(b".")[2]
    return json.loads(base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4)))["exp"] - time.time()


def test_token_refresh(tmp_path):
    home = tmp_path / "home"
    assert run([program("hub-certs"), "prepare", "--dir", str(home)]).returncode == 0
    path = config(tmp_path, "tokenRefreshDuration: 3")
    for options, environment, hours in [
        ((), {}, 24), (("--config", path), {}, 6), (("--config", path), {"HUB_TOKEN_REFRESH": "1"}, 2),
        (("--config", path, "--token-refresh", "5"), {"HUB_TOKEN_REFRESH": "1"}, 10),
    ]:  # fmt: skip
        assert abs(life_of_token(home, *options, **environment) - hours * 3600) < 60


# ----------------------------------------------------------------------------------------------------------------- check-config


def test_kubeedges_defaults(tmp_path):
    path = tmp_path / "cloudcore.yaml"
    path.write_text(DEFAULTS)
    found = rows(path)
    options = {f"{row['program']} {row['option']}": row["values"] for row in found if "option" in row}
    assert options == {
        "hub-certs prepare --advertise": ["192.0.2.7"], "hub-dispatch up --policy": ["open"], "hub-certs serve --edge-days": ["365"],
        "hub-certs serve --listen": ["0.0.0.0:10002"], "hub-keepalive --timeout": ["30"], "hub-wsserve --node-limit": ["500"],
        "hub-wsserve --ca": ["/etc/kubeedge/ca/rootCA.crt"], "hub-certs --ca": ["/etc/kubeedge/ca/rootCA.crt"],
        "hub-certs --ca-key": ["/etc/kubeedge/ca/rootCA.key"], "hub-wsserve --cert": ["/etc/kubeedge/certs/server.crt"],
        "hub-certs --cert": ["/etc/kubeedge/certs/server.crt"], "hub-wsserve --key": ["/etc/kubeedge/certs/server.key"],
        "hub-certs --key": ["/etc/kubeedge/certs/server.key"], "hub-certs --token-refresh": ["12"], "hub-wsserve --listen": ["0.0.0.0:10000"],
    }  # fmt: skip
    assert [row["key"] for row in found if row.get("unknown")] == []
    ignored = {row["key"]: row["reason"] for row in found if row.get("ignored")}
    assert set(ignored) == {
        "commonConfig", "kubeAPIConfig", "modules.cloudHub.https.enable", "modules.cloudHub.quic", "modules.cloudHub.unixsocket",
        "modules.cloudHub.writeTimeout", "modules.cloudStream", "modules.deviceController", "modules.dynamicController",
        "modules.edgeController", "modules.iptablesManager", "modules.router", "modules.syncController", "modules.taskManager",
    }  # fmt: skip
    assert all(ignored.values())
    table = check(path).stdout.decode().splitlines()
    assert len(table) == len(found)
    assert any(row.split() == ["modules.cloudHub.nodeLimit", "hub-wsserve", "--node-limit", "=", "500"] for row in table)


def test_every_option_that_is_named_exists(tmp_path):
    path = tmp_path / "cloudcore.yaml"
    path.write_text(DEFAULTS.replace("enable: false\n      modes", "enable: true\n      modes").replace('- ""', "- hub.example.com"))
    for row in rows(path):
        if "option" not in row:
            continue
        words = row["program"].split() if row["program"] != "hub-certs" else ["hub-certs", "serve"]
        assert f"{row['option']} " in run([program(words[0]), *words[1:], "--help"]).stdout.decode().replace("/", " "), row
    for words in (["hub-wsserve"], ["hub-keepalive"], ["hub-queue", "serve"], ["hub-dispatch", "down"], ["hub-dispatch", "up"], ["hub-certs", "serve"]):
        assert "--config <file>" in run([program(words[0]), *words[1:], "--help"]).stdout.decode(), words


def test_an_unknown_key_is_warned_of_and_an_option_still_works(tmp_path):
    path = config(tmp_path, "nodeLimits: 5", "keepaliveInterval: 1")
    done = run([program("hub-keepalive"), "--control", os.devnull, "--config", path])
    assert done.returncode == 0
    assert done.stderr == f"level=warn event=config_key_unknown file={path} key=modules.cloudHub.nodeLimits line=3\n".encode()
    assert [row["key"] for row in rows(path) if row.get("unknown")] == ["modules.cloudHub.nodeLimits"]


BAD = {
    "no YAML": (b"a: [1", "this is no YAML"),
    "twice": (b"modules:\n  cloudHub:\n    nodeLimit: 5\n    nodeLimit: 6\n", ":4: the key 'nodeLimit' comes twice"),
    "a wrong type": (b"modules:\n  cloudHub:\n    nodeLimit: x\n", ":3: modules.cloudHub.nodeLimit: must be a whole number of nodes"),
    "a wrong range": (b"modules:\n  cloudHub:\n    https: {port: 0}\n", ":3: modules.cloudHub.https.port: must lie between 1 and 65535, not 0"),
    "another kind": (b"kind: EdgeCore\n", ":1: kind: must be CloudCore, not 'EdgeCore'"),
    "huge": (b"# " + b"x" * (1 << 20), " is longer than 1048576 bytes"),
    "deep": (b"a: " + b"[" * 500_000, ":1: nested deeper than 32"),
    "many": (b"a: [" + b"1," * 200_000 + b"]", ":1: more than 20000 values, aliases included"),
    "a bomb": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(ord("b"), ord("k"))),
        ":5: more than 20000 values, aliases included",
    ),
    "binary": (os.urandom(64) + b"\x00\xff", ""),
    "control characters": (b"kind: \"\\e[31m\\n\"\n", r":1: kind: must be CloudCore, not '\u001b[31m\n'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_78_in_every_program(name, tmp_path):
    data, reason = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    for arguments in [
        ["hub-service", "check-config", str(path)], ["hub-wsserve", "--config", str(path)], ["hub-keepalive", "--control", os.devnull, "--config", str(path)],
        ["hub-queue", "--state", str(tmp_path / "q.db"), "--config", str(path)], ["hub-dispatch", "down", "--config", str(path)],
        ["hub-dispatch", "up", "--feedback", os.devnull, "--config", str(path)], ["hub-certs", "prepare", "--dir", str(tmp_path / "h"), "--config", str(path)],
    ]:  # fmt: skip
        done = run([program(arguments[0]), *arguments[1:]], timeout=10)
        assert (done.returncode, done.stdout) == (78, b"")
        text = done.stderr.decode()
        assert text.startswith(f"{arguments[0]}: ") and str(path) in text and reason in text and text.count("\n") == 1, text


def test_a_missing_file_is_78(tmp_path):
    for arguments in (["hub-keepalive", "--control", os.devnull, "--config", "none.yaml"], ["hub-service", "check-config", "none.yaml"]):
        done = run([program(arguments[0]), *arguments[1:]], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (
            78, b"%s: cannot read the configuration: cannot open none.yaml: No such file or directory\n" % arguments[0].encode())  # fmt: skip
    assert check(tmp_path / "none.yaml").returncode == 78


# ------------------------------------------------------------------------------------------------------------------- the whole hub


@pytest.mark.whole_hub
def test_the_hub_takes_its_ports_and_names_from_the_file(tmp_path):
    wss, https = free_port(), free_port()
    home = tmp_path / "home"
    path = config(
        tmp_path, "keepaliveInterval: 17", "nodeLimit: 1", "advertiseAddress: [127.0.0.1]", f"websocket: {{address: 127.0.0.1, port: {wss}}}",
        f"https: {{address: 127.0.0.1, port: {https}}}", f"tlsCAFile: {home}/ca/rootCA.crt", f"tlsCAKeyFile: {home}/ca/rootCA.key",
    )  # fmt: skip
    hub = Hub.__new__(Hub)
    hub.directory, hub.run, hub.state = home, tmp_path / "run", home / "queue.db"
    Process.__init__(hub, [HUB, "run", "--dir", str(home), "--run-dir", str(tmp_path / "run"), "--config", path], env=ENVIRONMENT)
    try:
        assert (hub.wss, hub.https) == (wss, https)
        assert (home / "ca" / "rootCA.crt").exists() and not (home / "rootCA.crt").exists()
        token = run([program("hub-certs"), "token", "--dir", str(home), "--config", path]).stdout.decode().strip()
        done = run(
            [program("hub-swarm"), "sink", "--nodes", "2", "--duration", "2", "--token-file", "/dev/stdin", "--cert-dir", str(tmp_path / "edges")]
            + ["--hub", f"127.0.0.1:{wss}", "--certs-url", f"https://127.0.0.1:{https}"],
            token.encode(),
        )
        assert json.loads(done.stdout)["connected"] == 1, "the node limit of the file"
        assert hub.stop() == 0
    finally:
        hub.kill()
    assert leftovers(tmp_path) == []


@pytest.mark.whole_hub
def test_a_bad_file_ends_the_hub_with_78(tmp_path):
    path = config(tmp_path, "nodeLimit: x")
    done = run([HUB, "run", "--dir", str(tmp_path / "home"), "--run-dir", str(tmp_path / "run"), "--config", path], env=ENVIRONMENT)
    assert done.returncode == 78
    assert f"{path}:3: modules.cloudHub.nodeLimit".encode() in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.whole_hub
def test_options_and_environment_of_the_hub_win_over_the_file(tmp_path):
    of_environment = free_port()
    path = config(tmp_path, f"websocket: {{address: 127.0.0.1, port: {free_port()}}}", f"https: {{address: 127.0.0.1, port: {free_port()}}}")
    command = [HUB, "run", "--dir", str(tmp_path / "home"), "--run-dir", str(tmp_path / "run"), "--ready-file", str(tmp_path / "ready")]
    hub = Process(
        [*command, "--certs-listen", "none"], env={**ENVIRONMENT, "HUB_CONFIG": path, "HUB_LISTEN": f"127.0.0.1:{of_environment}"}
    )
    try:
        wait_until((tmp_path / "ready").exists, what="the hub")
        assert (tmp_path / "run" / "wss.port").read_text() == f"{of_environment}\n"
        assert not (tmp_path / "run" / "https.port").exists()
        assert hub.stop() == 0
    finally:
        hub.kill()
    assert leftovers(tmp_path) == []
