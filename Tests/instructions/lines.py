"""The lines that the programs are measured with: the same ones each time, of the shapes that bin/bench and real clusters send."""

import json

NODES = 100


def identifier(kind, number):
    """Looks like a UUID."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


def compact(*members):
    return (json.dumps(dict(members), ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def padded(size, make):
    """The line of `size` bytes that `make` gives with the right number of bytes of padding."""
    return make("x" * (size - len(make(""))))


def header(number, **more):
    return {"msg_id": identifier(1, number), "timestamp": 1795406829541, **more}


def route(source, group, operation, resource):
    return {"source": source, "group": group, "operation": operation, "resource": resource}


def node(number):
    return f"edge-{number % NODES}"


def config_map(number):
    """1 KB, most of it one long string; it must be acknowledged."""
    name, version = f"cm-{number // NODES}", str(1000 + number)
    return padded(1024, lambda padding: compact(
        ("header", header(number, resourceversion=version)),
        ("route", route("edgecontroller", "resource", "update", f"node/{node(number)}/default/configmap/{name}")),
        ("content", {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default", "uid": identifier(2, number), "resourceVersion": version},
            "data": {"sent": "1795406829541", "pad": padding}})))


def pod(number):
    """1.7 KB of many short members, as the controllers send it; it must be acknowledged."""
    name, version = f"web-{number // NODES}", str(1000 + number)
    container = {
        "name": "web", "image": "registry.example/web:1.27.3", "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9113, "protocol": "TCP"}],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
                {"name": "LEVEL", "value": "info"}],
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/web", "readOnly": True}, {"name": "cache", "mountPath": "/var/cache/web"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                          "successThreshold": 1, "failureThreshold": 3}}
    return compact(
        ("header", header(number, resourceversion=version)),
        ("route", route("edgecontroller", "resource", "update", f"node/{node(number)}/default/pod/{name}")),
        ("content", {
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": name, "namespace": "default", "uid": identifier(2, number), "resourceVersion": version, "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": "web", "tier": "edge"},
                "annotations": {"example.org/ratio": "0.25", "example.org/note": "läuft \"am\" Rand"}},
            "spec": {
                "volumes": [{"name": "config", "configMap": {"name": "web", "defaultMode": 420}}, {"name": "cache", "emptyDir": {}}],
                "containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "nodeName": node(number), "hostNetwork": False, "securityContext": {},
                "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
                "priority": 0, "enableServiceLinks": True},
            "status": {"phase": "Pending", "qosClass": "Burstable"}}))


def twin(number):
    """1 KB that is sent at most once."""
    return padded(1024, lambda padding: compact(
        ("header", header(number)),
        ("route", route("devicecontroller", "twin", "updated", f"node/{node(number)}/device/dev-0/twin/cloud_updated")),
        ("content", {"event_id": "", "timestamp": 1795406829541, "twin": {"pad": {"expected": {"value": padding}}}})))


def envelope(number):
    return {"kind": "up", "node": node(number), "session": 1795406829541000 + number % NODES}


def report(number):
    """1 KB of a pod's status from a node, in inner form."""
    return padded(1024, lambda padding: compact(
        ("hub", envelope(number)),
        ("header", header(number)),
        ("route", route("edged", "meta", "update", f"default/podstatus/web-{number // NODES}")),
        ("content", {"Name": "web", "Status": {"phase": "Running", "message": padding}, "UID": identifier(2, number)})))


def acknowledgement(number):
    return compact(
        ("hub", envelope(number)),
        ("header", header(number, parent_msg_id=identifier(1, number))),
        ("route", route("edgecontroller", "resource", "response", f"default/configmap/cm-{number // NODES}")),
        ("content", "OK"))


def connected(number):
    """A node has connected."""
    return compact(
        ("hub", {**envelope(number), "kind": "event", "event": "connected"}),
        ("header", header(number)),
        ("route", route("cloudhub", "resource", "connected", f"node/{node(number)}")),
        ("content", {"event_type": "connected", "timestamp": 1795406829, "client_id": node(number)}))


def keepalive(number):
    """In turn an acknowledgement, which passes, and a sign of life, which ends."""
    if number % 2:
        return acknowledgement(number)
    return compact(
        ("hub", envelope(number)),
        ("header", header(number)),
        ("route", route("websocket", "resource", "keepalive", "node")),
        ("content", "ping"))


def inner(number):
    """As `hub-dispatch down` writes a config map."""
    name, version = f"cm-{number // NODES}", str(1000 + number)
    uid = identifier(2, number)
    return padded(1024, lambda padding: compact(
        ("hub", {"kind": "ack", "node": node(number), "key": uid, "version": version,
                 "object": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default", "name": name}}),
        ("header", header(number, resourceversion=version)),
        ("route", route("edgecontroller", "resource", "update", f"default/configmap/{name}")),
        ("content", {"apiVersion": "v1", "kind": "ConfigMap",
                     "metadata": {"name": name, "namespace": "default", "uid": uid, "resourceVersion": version},
                     "data": {"sent": "1795406829541", "pad": padding}})))
