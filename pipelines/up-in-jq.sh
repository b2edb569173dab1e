#!/bin/sh
# The last stage of the hub, written in jq: what it takes to replace `hub-dispatch up` by a program of one's own. It splits what comes
# from the nodes: answers and news of connections back to the queue, data to the controllers, in plain form and with its destination.
# It leaves out what the real one does besides: checks of sources, taskmanager and csi, spilling for slow readers. jq writes numbers
# and text in its own way, so the bytes of `content` are not those that the node sent.
#
# Usage, while a hub runs:        hub swap up -- pipelines/up-in-jq.sh            hub swap up --back
# Usage, with recorded lines:     HUB_FEEDBACK=/dev/stderr pipelines/up-in-jq.sh < live.jsonl
#   HUB_FEEDBACK is the FIFO or file for what goes back to the queue.
# Status: 0 end of input, 64 HUB_FEEDBACK is not set, 69 there is no jq, else that of jq.
set -eu
umask 077

[ -n "${HUB_FEEDBACK:-}" ] || {
    echo "$0: HUB_FEEDBACK must name the FIFO or file for answers" >&2
    exit 64
}
command -v jq >/dev/null || {
    echo "$0: please install jq" >&2
    exit 69
}

# shellcheck disable=SC2016 # $node is jq's
data='select(.hub.kind == "up" and (.route.operation | IN("response", "error", "keepalive") | not))
    | .hub.node as $node | del(.hub)
    | .route.resource = "node/\($node)/\(.route.resource)"
    | .route.destination = (if .route.source == "twin" then "devicecontroller"
                            elif .route.source == "metaserver" then "dynamiccontroller" else "edgecontroller" end)'
news='select(.hub.event == "connected" and (.hub.again | not) or .hub.event == "disconnected")
    | del(.hub) | .route.destination = "edgecontroller"'
back='select(.hub.kind == "event" or (.route.operation | IN("response", "error")))'

dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
mkfifo -m 600 "$dir/back"
# The end of the input walks through both; nothing is left behind by a signal.
jq -c --unbuffered "$back" <"$dir/back" >>"$HUB_FEEDBACK" &
feedback=$!
status=0
tee "$dir/back" | jq -c --unbuffered "($data), ($news)" || status=$?
wait "$feedback" || status=$?
exit "$status"
