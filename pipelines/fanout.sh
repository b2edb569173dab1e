#!/bin/sh
# Two hubs from one stream: nodes whose name matches go to the first, all others to the second; what both hear comes out as one stream.
#
# Usage: pipelines/fanout.sh PATTERN DIRECTORY < down.jsonl > up.jsonl
#   PATTERN is a regular expression for node names. DIRECTORY/one and DIRECTORY/two hold the hubs' certificates and queues, and their
#   FIFOs and ports in `run`. HUB_LISTEN_ONE, HUB_LISTEN_TWO (127.0.0.1:0) are the addresses for edge nodes; certificates are served
#   by the first hub only, so the two have one authority.
#   The programs come from $HUB_BIN_DIR, or from a release build.
# Status: 0 after SIGTERM, 64 wrong usage, 69 there is no jq, else that of a hub that failed.
#
#            ┌─ jq ─▶ hub run (one) ─┐
#   stdin ─▶ tee                     ├─▶ stdout
#            └─ jq ─▶ hub run (two) ─┘
set -eu
umask 077

[ $# -eq 2 ] || {
    echo "usage: $0 PATTERN DIRECTORY < down.jsonl > up.jsonl" >&2
    exit 64
}
command -v jq >/dev/null || {
    echo "$0: please install jq" >&2
    exit 69
}
pattern=$1
hub=$(CDPATH='' cd -- "$(dirname -- "$0")/../bin" && pwd)/hub
mkdir -p -- "$2/one" "$2/two"
dir=$(CDPATH='' cd -- "$2" && pwd)

run_dir=$(mktemp -d) # mode 0700
trap 'rm -rf -- "$run_dir"' EXIT
mkfifo -m 600 "$run_dir/one" "$run_dir/two" "$run_dir/other" "$run_dir/up.one" "$run_dir/up.two"

# Where two streams join, one program reads both: two writers of one FIFO would tear each other's lines.
"${HUB_BIN_DIR:-$(dirname -- "$hub")/../.build/release}/hub-replay" --speed max --merge --log-level error \
    "$run_dir/up.one" "$run_dir/up.two" &
merge=$!

"$hub" run --dir "$dir/one" --run-dir "$dir/one/run" --listen "${HUB_LISTEN_ONE:-127.0.0.1:0}" --certs-listen 127.0.0.1:0 \
    --advertise 127.0.0.1 <"$run_dir/one" >"$run_dir/up.one" &
one=$!
exec 3<&0 4>"$run_dir/one"
left=300
while [ ! -e "$dir/one/run/wss.port" ] && [ "$left" -gt 0 ] && kill -0 "$one" 2>/dev/null; do
    sleep 0.1
    left=$((left - 1))
done
# The second hub needs what the first one's authority has made, but not its key.
cp "$dir/one/rootCA.crt" "$dir/one/server.crt" "$dir/one/server.key" "$dir/two"
"$hub" run --dir "$dir/two" --run-dir "$dir/two/run" --listen "${HUB_LISTEN_TWO:-127.0.0.1:0}" --certs-listen none \
    <"$run_dir/two" >"$run_dir/up.two" 3<&- 4>&- &
two=$!

# shellcheck disable=SC2016 # the variables are jq's
mine='select(.route.resource | capture("(^|/)node/(?<node>[^/]+)").node | test($pattern))'
# shellcheck disable=SC2016
others='select(.route.resource | capture("(^|/)node/(?<node>[^/]+)").node | test($pattern) | not)'
jq -c --unbuffered --arg pattern "$pattern" "$others" <"$run_dir/other" >"$run_dir/two" 3<&- 4>&- &
tee "$run_dir/other" <&3 4>&- | jq -c --unbuffered --arg pattern "$pattern" "$mine" >&4 &
exec 3<&- 4>&-

ended=''
trap 'ended=1; kill -TERM "$one" "$two" 2>/dev/null || :' HUP INT TERM
status=0
for pid in "$one" "$two"; do
    while kill -0 "$pid" 2>/dev/null; do
        code=0
        wait "$pid" || code=$?
    done
    [ "$code" -eq 0 ] || [ -n "$ended" ] || status=$code
    kill -TERM "$one" "$two" 2>/dev/null || :
done
wait "$merge" || :
exit "$status"
