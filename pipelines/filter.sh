#!/bin/sh
# A stage of one's own in the middle: jq takes out what must not reach the edge, and adds a label to config maps. A stage is any program
# that reads lines and writes lines; it sees plain lines before hub-dispatch, and lines with their envelope behind it.
#
# Usage: pipelines/filter.sh NAMESPACE < down.jsonl > routed.jsonl
#   Messages of NAMESPACE are left out; config maps get the label `hub: filtered`.
#   The programs come from $HUB_BIN_DIR, or from .build/release.
# Status: 0 end of input, 64 wrong usage, 69 there is no jq, else that of the last stage that failed.
#
#   stdin ─▶ jq ─▶ hub-dispatch down ─▶ stdout
#
# jq decodes and encodes every message: its bytes change, its meaning does not, as long as no number needs more than 17 digits.
set -eu

[ $# -eq 1 ] || {
    echo "usage: $0 NAMESPACE < down.jsonl > routed.jsonl" >&2
    exit 64
}
command -v jq >/dev/null || {
    echo "$0: please install jq" >&2
    exit 69
}
PATH=${HUB_BIN_DIR:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.build/release}:$PATH

# shellcheck disable=SC2016 # the variables are jq's
jq -c --unbuffered --arg namespace "$1" '
    (.route.resource | split("/")) as $path
    | select($path[2] != $namespace)
    | if $path[3] == "configmap" and (.content | type) == "object" then .content.metadata.labels.hub = "filtered" else . end' |
    hub-dispatch down
