"""hub-queue's rules (design: "hub-queue") as a black box between its pipes."""

import json
import time

import pytest
from test_queue_kit import Queue, ack, answer, delete, event, keys, once, query, until


@pytest.fixture
def queue(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600") as running:
        yield running


def fast(tmp_path, *more):
    return Queue(tmp_path, "--reconcile", "3600", "--ack-timeout", "0.2", *more)


# Rule 1: what is taken


def test_newer_replaces_in_place_and_older_is_dropped(queue):
    queue.cloud(ack("n", "a", 5, "a5"), ack("n", "b", 1, "b1"), ack("n", "a", 9, "a9"), ack("n", "a", 9, "same"), ack("n", "a", 8, "a8"))
    queue.wait_keys("a", "b")
    assert [row["version"] for row in query("list", queue.state)] == ["9", "1"]
    queue.connect("n")
    queue.wait_sent("a9", "b1")
    counters = queue.counters()
    assert (counters["superseded"], counters["stale"], counters["accepted"]) == (1, 2, 3)


def test_versions_are_integers_of_any_length(queue):
    long = "9" * 40
    queue.cloud(ack("n", "a", "99", "short"), ack("n", "a", "100", "longer"), ack("n", "a", "0099", "zeros"), ack("n", "a", long, "long"))
    queue.cloud(ack("n", "a", "1" + "0" * 39, "lower"), ack("n", "a", "1" + "0" * 40, "longest"))
    queue.connect("n")
    until(lambda: "longest" in queue.sent())
    counters = queue.counters()
    assert (counters["superseded"], counters["stale"]) == (3, 2)


def test_not_higher_than_acknowledged_is_dropped(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 10, "a10"))
    queue.wait_sent("a10")
    queue.feedback(answer("n", "a10"))
    queue.settle()
    queue.cloud(ack("n", "a", 10, "again"), ack("n", "a", 9, "older"), ack("n", "a", 11, "newer"))
    queue.wait_sent("a10", "newer")
    assert queue.counters()["stale"] == 2


def test_force_is_taken_whatever_its_version(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 10, "a10"))
    queue.wait_sent("a10")
    queue.feedback(answer("n", "a10"))
    queue.settle()
    queue.cloud(ack("n", "a", 3, "forced", force=True))
    queue.wait_sent("a10", "forced")
    queue.feedback(answer("n", "forced"))
    queue.wait_keys()
    # The acknowledged version never goes back.
    assert query("syncs", queue.state)[0]["status"]["objectResourceVersion"] == "10"


def test_nothing_replaces_a_pending_delete(queue):
    queue.cloud(delete("n", "a", "gone"), ack("n", "a", 7, "late"), delete("n", "a", "twice"), ack("n", "a", 8, "forced", force=True))
    queue.connect("n")
    queue.wait_sent("gone")
    assert queue.counters()["dropped_behind_delete"] == 3


def test_delete_replaces_an_update_and_forgets_the_key(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 5, "a5"))
    queue.wait_sent("a5")
    queue.feedback(answer("n", "a5"))
    until(lambda: len(query("syncs", queue.state)) == 1)
    queue.cloud(delete("n", "a", "gone"))
    queue.wait_sent("a5", "gone")
    queue.feedback(answer("n", "gone"))
    queue.wait_keys()
    assert query("syncs", queue.state) == []
    queue.cloud(ack("n", "a", 1, "anew"))
    queue.wait_sent("a5", "gone", "anew")


def test_deletion_timestamp_is_an_ordinary_version_when_acknowledged(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 5, "terminating", force=True))
    queue.wait_sent("terminating")
    queue.feedback(answer("n", "terminating"))
    until(lambda: [s["status"]["objectResourceVersion"] for s in query("syncs", queue.state)] == ["5"])


# Replies


def test_reply_stands_beside_the_key(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 5, "a5"), ack("n", "a", 3, "reply", operation="response", resource="default/other/a", reply=True))
    until(lambda: sorted(queue.sent()) == ["a5", "reply"])
    queue.wait_keys("a")
    queue.feedback(answer("n", "reply"))
    until(lambda: [s["status"]["objectResourceVersion"] for s in query("syncs", queue.state)] == ["3"])
    assert keys(queue.state) == ["a"]
    queue.feedback(answer("n", "a5"))
    queue.wait_keys()
    queue.cloud(ack("n", "a", 4, "low", operation="response", resource="default/other/a", reply=True))
    until(lambda: "low" in queue.sent())
    queue.feedback(answer("n", "low"))
    queue.settle()
    # Raised, never lowered.
    assert [s["status"]["objectResourceVersion"] for s in query("syncs", queue.state)] == ["5"]


def test_reply_is_dropped_when_the_node_is_offline(queue):
    queue.cloud(ack("n", "a", 3, "reply", operation="response", reply=True))
    until(lambda: queue.counters()["replies_dropped_offline"] == 1)
    queue.connect("n")
    queue.cloud(ack("n", "b", 1, "b1"))
    queue.wait_sent("b1")
    assert keys(queue.state) == ["b"]


def test_reply_ends_with_its_session(tmp_path):
    with fast(tmp_path) as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 3, "reply", operation="response", reply=True))
        queue.wait_sent("reply")
        queue.connect("n", session=2)
        queue.settle()
        time.sleep(0.5)
        assert queue.sent() == ["reply"]
        assert queue.counters()["replies_dropped_unanswered"] == 1


def test_reply_is_offered_as_often_as_attempts_say(tmp_path):
    with fast(tmp_path, "--attempts", "3") as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 3, "reply", operation="response", reply=True), ack("n", "a", 4, "same-path"))
        until(lambda: "same-path" in queue.sent())
        # It keeps its path until it is given up.
        assert queue.sent()[:4] == ["reply"] * 3 + ["same-path"]
        assert queue.counters()["replies_dropped_unanswered"] == 1


# Rule 2: what is sent


def test_sent_line_is_the_line_with_its_session(queue):
    line = b'{"hub":{"kind":"ack","node":"n","key":"k","version":"1","x":1},  "header": {"msg_id":"m"},"route":{"operation":"update","group":"resource","resource":"d/c/k"},"content":{"e":"\\u00e9","n":1.50 } , "unknown":[1,2]}'
    queue.connect("n", session=1795406829541000)
    queue.cloud(line + b"\n")
    queue.wait_sent("m")
    assert queue.lines[-1][1] == line.replace(b'"hub":{', b'"hub":{"session":1795406829541000,')
    # A session that the line already has is replaced: a recording can be fed back.
    other = line.replace(b'"kind":"ack"', b'"kind":"ack","session":3').replace(b'"k"', b'"j"').replace(b'"m"', b'"m2"').replace(b"d/c/k", b"d/c/j")
    queue.cloud(other + b"\n")
    queue.wait_sent("m", "m2")
    assert queue.lines[-1][1] == other.replace(b'"session":3', b'"session":1795406829541000')


def test_window_in_messages_and_acknowledgements_open_it(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600", "--window", "4") as queue:
        queue.connect("n")
        queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}") for i in range(10)))
        queue.wait_sent("m0", "m1", "m2", "m3")
        time.sleep(0.2)
        queue.wait_sent("m0", "m1", "m2", "m3")
        queue.feedback(answer("n", "m1"))
        queue.wait_sent("m0", "m1", "m2", "m3", "m4")
        queue.feedback(*(answer("n", f"m{i}") for i in (0, 2, 3, 4)))
        queue.wait_sent(*(f"m{i}" for i in range(9)))


def test_window_in_bytes_and_a_larger_message_alone(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600", "--window-bytes", "4KiB") as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 1, "a", size=2000), ack("n", "b", 1, "b", size=2000), ack("n", "c", 1, "c", size=9000), ack("n", "d", 1, "d"))
        queue.wait_sent("a")
        time.sleep(0.2)
        queue.wait_sent("a")
        queue.feedback(answer("n", "a"))
        queue.wait_sent("a", "b")
        queue.feedback(answer("n", "b"))
        queue.wait_sent("a", "b", "c")
        queue.feedback(answer("n", "c"))
        queue.wait_sent("a", "b", "c", "d")


def test_expired_acknowledgement_halves_the_window(tmp_path):
    with fast(tmp_path, "--window", "8") as queue:
        queue.connect("n")
        queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}") for i in range(8)))
        until(lambda: len(queue.sent()) == 8)
        until(lambda: len(queue.sent()) == 9)
        # 8 expired at about the same time: one message is on its way from now on.
        time.sleep(0.1)
        assert len(queue.sent()) <= 10
        queue.feedback(answer("n", queue.sent()[-1]))
        until(lambda: len(queue.sent()) >= 11)


def test_nodes_take_turns(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600") as queue:
        queue.cloud(*(ack("a", f"k{i}", 1, f"a{i}") for i in range(30)), *(ack("b", f"k{i}", 1, f"b{i}") for i in range(30)))
        until(lambda: len(keys(queue.state)) == 60)
        queue.feedback(event("connected", "a", 1) + event("connected", "b", 1))
        until(lambda: len(queue.sent()) == 60)
        first = queue.sent()[:20]
        assert abs(len([m for m in first if m[0] == "a"]) - 10) <= 2
        assert [m for m in queue.sent() if m[0] == "a"] == [f"a{i}" for i in range(30)]


def test_one_version_in_flight_and_the_newest_follows_the_acknowledgement(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 1, "v1"))
    queue.wait_sent("v1")
    queue.cloud(ack("n", "a", 2, "v2"), ack("n", "a", 3, "v3"))
    until(lambda: queue.counters()["superseded"] == 2)
    time.sleep(0.1)
    queue.wait_sent("v1")
    queue.feedback(answer("n", "v1"))
    queue.wait_sent("v1", "v3")
    assert [row["version"] for row in query("list", queue.state)] == ["3"]
    until(lambda: [s["status"]["objectResourceVersion"] for s in query("syncs", queue.state)] == ["1"])
    queue.feedback(answer("n", "v3"))
    queue.wait_keys()
    assert [s["status"]["objectResourceVersion"] for s in query("syncs", queue.state)] == ["3"]


def test_retry_sends_the_newest_and_late_answer_of_the_older_counts(tmp_path):
    with fast(tmp_path) as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 1, "v1"))
        queue.wait_sent("v1")
        queue.cloud(ack("n", "a", 2, "v2"))
        until(lambda: queue.sent()[:2] == ["v1", "v2"])
        queue.feedback(answer("n", "v1"))
        until(lambda: [s["status"]["objectResourceVersion"] for s in query("syncs", queue.state)] == ["1"])
        assert keys(queue.state) == ["a"]
        queue.feedback(answer("n", "v2"))
        queue.wait_keys()


def test_same_resource_in_arrival_order_whatever_the_key(queue):
    queue.connect("n")
    path = "default/pod/web"
    queue.cloud(delete("n", "old-uid", "gone", resource=path), ack("n", "new-uid", 1, "new", resource=path), ack("n", "else", 1, "else"))
    queue.wait_sent("gone", "else")
    time.sleep(0.1)
    queue.wait_sent("gone", "else")
    queue.feedback(answer("n", "gone"))
    queue.wait_sent("gone", "else", "new")


def test_same_resource_keeps_its_order_while_offline_and_through_a_backoff(tmp_path):
    with fast(tmp_path, "--attempts", "1") as queue:
        path = "default/pod/web"
        queue.cloud(delete("n", "old-uid", "gone", resource=path), ack("n", "new-uid", 1, "new", resource=path), ack("n", "x", 1, "x"))
        queue.wait_keys("old-uid", "new-uid", "x")
        queue.connect("n")
        until(lambda: set(queue.sent()) == {"gone", "x"})
        time.sleep(0.5)
        assert "new" not in queue.sent()
        queue.feedback(answer("n", "gone"))
        until(lambda: "new" in queue.sent())


# Rule 3: acknowledgements


def test_late_acknowledgement_of_an_earlier_session(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 1, "m"))
    queue.wait_sent("m")
    queue.feedback(event("disconnected", "n", 1))
    queue.settle()
    # While offline, and although the message lies on disk only by now.
    time.sleep(0.2)
    queue.feedback(answer("n", "m", session=1))
    queue.wait_keys()
    assert queue.counters()["acked"] == 1


def test_acknowledgement_of_what_was_never_sent_is_unknown(queue):
    queue.cloud(ack("n", "a", 1, "m"))
    queue.wait_keys("a")
    queue.feedback(answer("n", "m"), answer("nobody", "m"), answer("n", "whatever"))
    until(lambda: queue.counters()["unknown_acks"] == 3)
    assert keys(queue.state) == ["a"]


def test_duplicate_acknowledgements_are_counted(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 1, "m"))
    queue.wait_sent("m")
    queue.feedback(answer("n", "m"), answer("n", "m"), answer("n", "m"))
    until(lambda: queue.counters()["duplicate_acks"] == 2)
    assert queue.counters()["acked"] == 1


def test_another_node_cannot_acknowledge(queue):
    queue.connect("n", "m")
    queue.cloud(ack("n", "a", 1, "id"))
    queue.wait_sent("id")
    queue.feedback(answer("m", "id"))
    until(lambda: queue.counters()["unknown_acks"] == 1)
    assert keys(queue.state) == ["a"]


# Rule 4: retries and backoff


def test_retries_then_backoff_while_other_keys_flow(tmp_path):
    with fast(tmp_path, "--attempts", "3") as queue:
        queue.connect("n")
        queue.cloud(ack("n", "bad", 1, "bad"))
        until(lambda: len(queue.times("bad")) == 3)
        at = queue.times("bad")
        assert all(0.19 <= later - earlier <= 0.3 for earlier, later in zip(at, at[1:]))
        until(lambda: "attempts" in query("list", queue.state)[0])
        assert query("list", queue.state)[0]["attempts"] == 3
        queue.cloud(ack("n", "good", 1, "good"))
        until(lambda: "good" in queue.sent())
        queue.feedback(answer("n", "good"))
        until(lambda: len(queue.times("bad")) == 4)
        assert 1.15 <= queue.times("bad")[3] - at[2] <= 1.4


def test_newer_version_and_new_session_end_the_backoff(tmp_path):
    with fast(tmp_path, "--attempts", "1") as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 1, "a1"))
        until(lambda: queue.counters()["backoffs"] == 1)
        queue.cloud(ack("n", "a", 2, "a2"))
        until(lambda: queue.sent() == ["a1", "a2"], 0.5)
        until(lambda: queue.counters()["backoffs"] == 2)
        queue.connect("n", session=2)
        until(lambda: queue.sent() == ["a1", "a2", "a2"], 0.5)


def test_refusal_backs_off_at_once_and_is_kept(queue):
    queue.connect("n")
    queue.cloud(ack("n", "a", 1, "a1"))
    queue.wait_sent("a1")
    queue.feedback(answer("n", "a1", operation="error", content="no such kind: \u00e9 \"x\""))
    until(lambda: queue.counters()["refused_by_node"] == 1)
    row = until(lambda: [r for r in query("list", queue.state) if "last_error" in r])[0]
    assert row["last_error"] == 'no such kind: é "x"'
    assert row["backoff_until"] > time.time() * 1000 - 1000
    until(lambda: len(queue.times("a1")) == 2)
    assert 0.95 <= queue.times("a1")[1] - queue.times("a1")[0] <= 1.3
    queue.feedback(answer("n", "a1"))
    queue.wait_keys()


# Rule 5: sessions


def test_new_session_sends_everything_again_and_old_events_change_nothing(queue):
    queue.connect("n", session=10)
    queue.cloud(ack("n", "a", 1, "a"), ack("n", "b", 1, "b"))
    queue.wait_sent("a", "b")
    queue.connect("n", session=20)
    queue.wait_sent("a", "b", "a", "b")
    assert {m["hub"]["session"] for m in queue.messages()[-2:]} == {20}
    queue.feedback(event("connected", "n", 15), event("disconnected", "n", 10))
    queue.settle()
    queue.cloud(ack("n", "c", 1, "c"))
    queue.wait_sent("a", "b", "a", "b", "c")
    assert queue.messages()[-1]["hub"]["session"] == 20


def test_disconnected_stops_and_the_next_session_resumes(queue):
    queue.connect("n", session=1)
    queue.cloud(ack("n", "a", 1, "a"))
    queue.wait_sent("a")
    queue.feedback(event("disconnected", "n", 1))
    queue.settle()
    queue.cloud(ack("n", "b", 1, "b"))
    queue.wait_keys("a", "b")
    queue.wait_sent("a")
    queue.connect("n", session=2)
    queue.wait_sent("a", "a", "b")


def test_reset_ends_all_sessions_and_any_later_one_is_newer(queue):
    queue.connect("n", "m", session=100)
    queue.cloud(ack("n", "a", 1, "a"))
    queue.wait_sent("a")
    queue.feedback(event("reset"))
    queue.settle()
    assert queue.counters()["nodes_online"] == 0
    queue.connect("n", session=5)
    queue.wait_sent("a", "a")
    assert queue.messages()[-1]["hub"]["session"] == 5


# Rules 6 and 7: once


def test_once_goes_to_who_is_online(queue):
    queue.connect("n", session=7)
    queue.settle()
    queue.cloud(once("n", "here"), once("m", "gone"))
    queue.wait_sent("here")
    assert queue.messages()[-1]["hub"] == {"session": 7, "kind": "once", "node": "n"}
    until(lambda: queue.counters()["once_dropped_offline"] == 1)


def test_once_goes_before_what_is_ready(queue):
    queue.connect("n")
    queue.settle()
    queue.cloud(*(ack("n", f"k{i}", 1, f"m{i}") for i in range(20)), once("n"))
    until(lambda: len(queue.sent()) == 21)
    assert queue.sent()[0] == "once"


def test_once_reply_on_the_feedback_is_forwarded(queue):
    queue.connect("n")
    queue.feedback(once("n", "ca", operation="response", resource="k8s/ca.crt"), once("m", "ca2"))
    queue.wait_sent("ca")
    until(lambda: queue.counters()["once_dropped_offline"] == 1)


@pytest.mark.parametrize("online", [True, False])
def test_deleted_node_is_forgotten_and_closed(queue, online):
    queue.connect("n", "other")
    queue.cloud(ack("n", "a", 5, "a5"), ack("other", "a", 5, "o5"))
    until(lambda: sorted(queue.sent()) == ["a5", "o5"])
    queue.feedback(answer("n", "a5"), answer("other", "o5"))
    queue.cloud(ack("n", "b", 1, "b1"))
    until(lambda: "b1" in queue.sent())
    if not online:
        queue.feedback(event("disconnected", "n", 1))
        queue.settle()
    queue.cloud(once("n", "del", operation="delete", resource="default/node/n"))
    close = until(lambda: queue.events("close"))[0]
    assert close["hub"]["node"] == "n" and close["hub"]["reason"] == "node deleted"
    assert close["hub"].get("session") == (1 if online else None)
    until(lambda: [row["node"] for row in query("nodes", queue.state)] == ["other"])
    assert keys(queue.state) == []
    assert [row["metadata"]["name"] for row in query("syncs", queue.state)] == ["other.a"]
    assert "del" not in queue.sent()
    # A node of the same name begins anew.
    queue.connect("n", session=9)
    queue.cloud(ack("n", "a", 1, "anew"))
    until(lambda: "anew" in queue.sent())


@pytest.mark.parametrize("line", [
    once("n", "x", operation="delete", resource="default/node/other"), once("n", "x", operation="update", resource="default/node/n"),
    once("n", "x", operation="delete", resource="default/node/n", source="devicecontroller"),
    once("n", "x", operation="delete", resource="node/n")])
def test_other_once_lines_do_not_delete_a_node(queue, line):
    queue.connect("n")
    queue.settle()
    queue.cloud(line)
    queue.wait_sent("x")
    assert queue.events("close") == []


# Rule 9: who


def test_who_on_start_and_every_while(tmp_path):
    with Queue(tmp_path, "--reconcile", "0.3") as queue:
        until(lambda: len(queue.events("who")) >= 3)
        at = [t for t, line in queue.lines if json.loads(line)["hub"].get("event") == "who"]
        assert 0.25 <= at[2] - at[1] <= 0.4
        assert len({m["header"]["msg_id"] for m in queue.events("who")}) == len(queue.events("who"))


def test_live_ends_sessions_that_were_not_named(queue):
    question = until(lambda: queue.events("who"))[0]["header"]["msg_id"]
    queue.connect("stays", "late", session=5)
    queue.feedback(event("connected", "stays", 5, again=True), event("live", parent="another question"))
    queue.settle()
    assert queue.counters()["nodes_online"] == 2
    queue.feedback(event("live", parent=question))
    queue.settle()
    # Both were heard of after the question.
    assert queue.counters()["nodes_online"] == 2


def test_live_and_again_with_messages_in_flight(tmp_path):
    with Queue(tmp_path, "--reconcile", "0.5") as queue:
        queue.connect("stays", "swallowed", session=5)
        queue.cloud(ack("stays", "a", 1, "s1"), ack("swallowed", "a", 1, "w1"))
        until(lambda: sorted(queue.sent()) == ["s1", "w1"])
        seen = len(queue.events("who"))
        question = until(lambda: queue.events("who")[seen:])[0]["header"]["msg_id"]
        queue.feedback(event("connected", "stays", 5, again=True), event("live", parent=question))
        until(lambda: queue.counters()["reconciled_offline"] == 1)
        # An `again` for the session already known changes nothing: nothing is sent twice.
        assert sorted(queue.sent()) == ["s1", "w1"]
        queue.feedback(event("connected", "swallowed", 5, again=True))
        until(lambda: sorted(queue.sent()) == ["s1", "w1", "w1"])


def test_restart_while_nodes_stay_connected(tmp_path):
    with Queue(tmp_path, "--reconcile", "3600") as queue:
        queue.connect("n", session=3)
        queue.cloud(ack("n", "a", 1, "a"), ack("n", "b", 1, "b"))
        queue.wait_sent("a", "b")
        queue.wait_keys("a", "b")
        queue.kill()
        # The acknowledgement that nobody read is read by the next process, before any session.
        queue.feedback(answer("n", "a", session=3))
        queue.start()
        question = until(lambda: queue.events("who"))[0]["header"]["msg_id"]
        queue.feedback(event("connected", "n", 3, again=True), event("live", parent=question))
        queue.wait_sent("b")
        queue.feedback(answer("n", "b", session=3))
        queue.wait_keys()
        assert [s["metadata"]["name"] for s in query("syncs", queue.state)] == ["n.a", "n.b"]


def test_the_status_file_tells_what_is_in_flight(tmp_path):
    status = tmp_path / "flights"
    with Queue(tmp_path, "--status", str(status)) as queue:
        queue.connect("n")
        queue.cloud(ack("n", "a", 1, "a"), ack("n", "b", 1, "b"), ack("offline", "c", 1, "c"))
        queue.wait_sent("a", "b")
        queue.counters()
        until(lambda: status.read_text() == '{"node":"n","in_flight":2,"window":64}\n')
        assert [(row["node"], row["in_flight"]) for row in query("nodes", queue.state, "--flights", str(status))] == [("n", 2), ("offline", 0)]
        queue.feedback(answer("n", "a"), answer("n", "b"))
        queue.settle()
        queue.counters()
        until(lambda: status.read_text() == "")
