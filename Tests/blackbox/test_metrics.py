"""--metrics: the Prometheus text that each stage keeps, read by a parser that is not the hub's."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from conftest import ROOT, STAGES, Hub, Process, config_map, program, run, wait_until
from prometheus_client.parser import text_string_to_metric_families


def read(path):
    """Samples by name and labels; the parser refuses what is no exposition format."""
    samples = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            key = sample.name, tuple(sorted((name, value) for name, value in sample.labels.items() if name != "stage"))
            assert key not in samples, f"{key} is there twice"
            samples[key] = sample.value
    return samples


def value(samples, name, **labels):
    return samples[name, tuple(sorted(labels.items()))]


def test_lines_bytes_and_rejects_are_counted(tmp_path):
    path = tmp_path / "down.prom"
    data = config_map("n", "a", 1) + b"no json\n" + config_map("n", "b", 2) + b'{"header":{}}\n' + b"also none\n"
    done = run([program("hub-dispatch"), "down", "--metrics", path], data)
    samples = read(path)
    assert value(samples, "hub_lines_total", direction="in", link="stdin") == 5
    assert value(samples, "hub_lines_total", direction="out", link="stdout") == 2
    assert value(samples, "hub_bytes_total", direction="in", link="stdin") == len(data)
    assert value(samples, "hub_bytes_total", direction="out", link="stdout") == len(done.stdout)
    assert value(samples, "hub_rejects_total", reason="not JSON") == 2
    assert value(samples, "hub_rejects_total", reason="missing member route") == 1
    assert value(samples, "hub_down_ack_total") == 2
    assert abs(value(samples, "hub_start_time_seconds") - time.time()) < 60
    assert value(samples, "hub_resident_bytes") > 1e6
    assert ("hub_stage_info", (("version", "0.1.0"),)) in samples


def test_the_file_is_kept_fresh_and_never_half_written(tmp_path):
    path = tmp_path / "down.prom"
    process = Process([program("hub-dispatch"), "down", "--metrics", path, "--metrics-interval", "0.1"])
    seen = set()
    for number in range(50):
        process.write(config_map("n", "a", number))
        if path.exists():
            seen.add(value(read(path), "hub_down_ack_total"))
        time.sleep(0.02)
    assert len(seen) > 3
    assert process.stop() == 0
    assert value(read(path), "hub_down_ack_total") == 50, "the last version is written at the end"
    assert [entry.name for entry in tmp_path.iterdir()] == ["down.prom"]


def test_measuring_memory_takes_none_to_speak_of(tmp_path):
    """Five stages share a bound on memory per connection; a buffer for their own measuring must not be a part of it."""
    resident = []
    for options in [], ["--metrics", tmp_path / "down.prom", "--metrics-interval", "0.1"]:
        process = Process([program("hub-dispatch"), "down", *options])
        process.write(config_map("n", "a", 1))
        process.wait_lines(lambda lines: len(lines) == 1)
        time.sleep(0.5)
        pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1])
        resident.append(pages * os.sysconf("SC_PAGE_SIZE"))
        assert process.stop() == 0
    assert resident[1] < resident[0] + (1 << 19)


def test_a_file_that_cannot_be_written_is_logged_once(tmp_path):
    process = Process([program("hub-dispatch"), "down", "--metrics", tmp_path / "none" / "x", "--metrics-interval", "0.1"])
    process.wait_errors(b"event=metrics_failed")
    time.sleep(0.5)
    process.write(config_map("n", "a", 1))
    process.wait_lines(lambda lines: len(lines) == 1)
    assert process.stop() == 0
    assert sum(b"metrics_failed" in line for line in process.errors) == 1


def test_wrong_interval_is_64(tmp_path):
    assert run([program("hub-dispatch"), "down", "--metrics-interval", "0"]).returncode == 64


@pytest.mark.whole_hub
def test_the_whole_hub(hub):
    with hub.connect("edge-0") as node:
        hub.write(b"".join(config_map("edge-0", f"c{n}", n + 1) for n in range(20)) + config_map("edge-1", "c", 1))
        node.wait_count(20)
        node.send_message("update", "default/podstatus/p", {"Name": "p"})
        paths = {stage: hub.run / f"hub-{stage}.prom" for stage in (*STAGES, "certs")}

        def settled():
            if not all(path.exists() for path in paths.values()):
                return None
            all_samples = {stage: read(path) for stage, path in paths.items()}
            queue = all_samples["queue"]
            return all_samples if value(queue, "hub_ack_latency_seconds_count") == 20 and value(queue, "hub_pending_messages") == 1 else None

        samples = wait_until(settled, 20, "metrics that are up to date")
    assert value(samples["queue"], "hub_connected_nodes") == value(samples["wsserve"], "hub_connected_nodes") == 1
    assert value(samples["keepalive"], "hub_keepalive_nodes") == 1
    assert value(samples["queue"], "hub_ack_latency_seconds_bucket", le="+Inf") == 20
    assert value(samples["certs"], "hub_certs_issued_total") == 1
    assert value(samples["up"], "hub_up_acknowledgements_total") == 20


@pytest.mark.whole_hub
def test_alerts_and_dashboard_use_metrics_that_exist(tmp_path):
    """A rule about a metric that nobody writes never fires."""
    monitoring = ROOT / "pipelines" / "monitoring"
    dashboard = json.loads((monitoring / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += re.findall(r"expr: (.*)", (monitoring / "alerts.yml").read_text())
    wanted = {name for text in expressions for name in re.findall(r"\bhub_\w+", text)}
    assert len(expressions) > 30 and len(wanted) > 30
    hub = Hub(tmp_path / "hub", "--receipts", str(tmp_path / "receipts"))
    try:
        paths = [hub.run / f"hub-{stage}.prom" for stage in (*STAGES, "certs")]
        hub.write(b"no json\n")
        wait_until(lambda: all(path.exists() for path in paths) and b"hub_rejects_total" in paths[0].read_bytes(), 20, "metrics")
        existing = {name for path in paths for name, _ in read(path)}
        assert wanted - existing == set()
        assert hub.stop() == 0
    finally:
        hub.kill()
    if shutil.which("promtool"):
        done = run(["promtool", "check", "rules", monitoring / "alerts.yml"])
        assert done.returncode == 0, done.stdout
