#!/bin/sh
# Delivery without a network: the first two stages of the hub, and a jq program that plays all edge nodes. It says which nodes are
# connected and acknowledges every message, so the queue delivers, remembers and ends when nothing is pending.
#
# Usage: pipelines/loopback.sh [STATE] < down.jsonl        for example Tests/blackbox/wire/downstream_stdin.jsonl
#   STATE is the queue's file; without it there is a temporary one, and what each node has is printed at the end.
#   The programs come from $HUB_BIN_DIR, or from .build/release.
# Status: 0 everything was delivered, 64 wrong usage, 69 there is no jq, else that of the first stage that failed.
#
#   stdin ─▶ hub-dispatch down ─▶ hub-queue ─▶ jq
#                                     ▲ feedback │
#                                     └──────────┘
set -eu
umask 077

[ $# -le 1 ] || {
    echo "usage: $0 [STATE] < down.jsonl" >&2
    exit 64
}
command -v jq >/dev/null || {
    echo "$0: please install jq" >&2
    exit 69
}
PATH=${HUB_BIN_DIR:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.build/release}:$PATH

run_dir=$(mktemp -d) # mode 0700
trap 'rm -rf -- "$run_dir"' EXIT
state=${1:-$run_dir/queue.db}
mkfifo -m 600 "$run_dir/routed" "$run_dir/feedback"

# What the stages say to each other. A node is connected from the first message that is for it; `who` asks for all of them.
# shellcheck disable=SC2016 # the variables are jq's
edges='
    def event($name; $more): {hub: ({kind: "event", event: $name} + $more), header: {msg_id: "loopback"},
        route: {source: "cloudhub", group: "resource", operation: $name, resource: "node"}, content: {}};
    def answer: {hub: {kind: "up", node: .hub.node, session: .hub.session},
        header: {msg_id: ("answer-" + .header.msg_id), parent_msg_id: .header.msg_id},
        route: (.route + {operation: "response"}), content: "OK"};
    if .hub.event == "who" then
        ($nodes[] | event("connected"; {node: ., session: 1, again: true})),
        (.header.msg_id as $who | event("live"; {}) | .header.parent_msg_id = $who)
    elif .hub.kind == "ack" then answer
    else empty end'
# All lines are read first, because the nodes are those that they name.
hub-dispatch down >"$run_dir/lines"
nodes=$(jq -nc '[inputs.hub.node] | unique' <"$run_dir/lines")

hub-queue --state "$state" --feedback "$run_dir/feedback" --exit-when-drained <"$run_dir/lines" >"$run_dir/routed" &
queue=$!
jq -c --unbuffered --argjson nodes "$nodes" "$edges" <"$run_dir/routed" >"$run_dir/feedback" &
edges=$!
status=0
wait "$queue" || status=$?
wait "$edges" || [ "$status" -ne 0 ] || status=$?
[ "$status" -ne 0 ] || [ $# -gt 0 ] || hub-queue syncs --state "$state" | jq -r '[.metadata.name, .status.objectResourceVersion] | @tsv'
exit "$status"
