#!/bin/sh
# The complete hub, wired by hand: one script to read, to change, and to put a `tee` into. `bin/hub run` is the same wiring with
# supervision; here the first stage that ends by itself ends the hub.
#
# Usage: pipelines/cloudhub.sh DIRECTORY < down.jsonl > up.jsonl
#   DIRECTORY holds the certificates, the join token and the queue; what is missing is made.
#   The programs come from $HUB_BIN_DIR, or from .build/release. Their options also come from the environment:
#   HUB_ACK_TIMEOUT=2, HUB_NODE_LIMIT=500, … (see each --help).
#   HUB_WSS (0.0.0.0:10000) and HUB_HTTPS (0.0.0.0:10002) are the addresses for edge nodes.
# Status: 0 after SIGTERM, else that of the first stage that failed.
#
#   stdin ─▶ hub-dispatch down ─▶ hub-queue ─▶ hub-wsserve ─▶ hub-keepalive ─▶ hub-dispatch up ─▶ stdout
#                        routed ▲          send ▲        wire          │   live              │
#                               │               └─────── control ◀─────┘                     │
#                               └─────────────────────── feedback ◀──────────────────────────┘
set -eu
umask 077

[ $# -eq 1 ] || {
    echo "usage: $0 DIRECTORY < down.jsonl > up.jsonl" >&2
    exit 64
}
dir=$1
PATH=${HUB_BIN_DIR:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.build/release}:$PATH
wss=${HUB_WSS:-0.0.0.0:10000} https=${HUB_HTTPS:-0.0.0.0:10002}

mkdir -p -- "$dir"
hub-certs prepare --dir "$dir" >&2

dir=$(CDPATH='' cd -- "$dir" && pwd)
run_dir=$(mktemp -d) # mode 0700
trap 'rm -rf -- "$run_dir"' EXIT
cd "$run_dir"
mkfifo -m 600 routed send wire live control feedback tasks

# This script keeps both ends of every FIFO open: a stage that starts later than its neighbour, or ends earlier, is then no
# end of input. Each stage gets only its own; `9>&-` and the like take the rest away.
exec 3<&0 # a background job does not inherit standard input
exec 4<>routed 5<>send 6<>wire 7<>live 8<>control 9<>feedback

# Plain lines in, one line per message out, with its node and its lane.
hub-dispatch down <&3 >routed 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &
down=$!

# Keeps what nodes must acknowledge, and sends it while they are connected. Reads acknowledgements and connection events first.
hub-queue --state "$dir/queue.db" --feedback feedback <routed >send 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &
queue=$!

# Mutual TLS and WebSocket: lines to nodes in, lines from nodes and connection events out.
hub-wsserve control - --listen "$wss" --print-port "$dir/wss.port" \
    --cert "$dir/server.crt" --key "$dir/server.key" --ca "$dir/rootCA.crt" <send >wire 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &
wsserve=$!

# Has silent nodes closed. To watch all that nodes say: put `tee -a up.rec |` before it.
hub-keepalive --control control <wire >live 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &
keepalive=$!

# Issues certificates to nodes that have the join token (hub-certs token --dir DIRECTORY); reports of node upgrades come out.
hub-certs serve --dir "$dir" --listen "$https" --print-port "$dir/https.port" </dev/null >tasks 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &
certs=$!

# Acknowledgements back to the queue, everything else to the controllers.
hub-dispatch up --feedback feedback - tasks <live 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &
up=$!
exec 3<&-

# SIGTERM, or a stage that ends: each stage is asked to end once the one before it has, so that it takes what that one wrote.
ended='' status=0
trap 'ended=signal' HUP INT TERM
while [ -z "$ended" ]; do
    sleep 1 &
    pause=$!
    wait "$pause" || :
    # The end of `down` is the end of the input: the hub goes on serving.
    for stage in "$queue" "$wsserve" "$keepalive" "$certs" "$up"; do
        kill -0 "$stage" 2>/dev/null || ended=stage
    done
done
trap '' HUP INT TERM
kill -KILL "$pause" 2>/dev/null || :
exec 4<&- 5<&- 6<&- 7<&- # nobody waits for a stage that is gone
for stage in "$down" "$queue" "$wsserve" "$certs" "$keepalive" "$up"; do
    kill -TERM "$stage" 2>/dev/null || :
    code=0
    wait "$stage" || code=$?
    if [ "$status" -eq 0 ]; then status=$code; fi
    # What goes round the ring to a stage that has ended must not fill a FIFO.
    if [ "$stage" = "$queue" ]; then cat <&9 >/dev/null & feedback=$!; fi
    if [ "$stage" = "$wsserve" ]; then cat <&8 >/dev/null & control=$!; fi
done
kill -KILL "$feedback" "$control" # they were started with SIGTERM ignored
exit "$status"
