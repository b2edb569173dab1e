#!/bin/sh
# A pipeline recorded in its middle: what controllers write, and what becomes of it, each in files that follow one another. Lines pass
# on after they are in the file, so what a later stage has seen was recorded.
#
# Usage: pipelines/record.sh DIRECTORY < down.jsonl > routed.jsonl
#   DIRECTORY gets plain-TIME-NUMBER.jsonl and routed-TIME-NUMBER.jsonl. pipelines/replay.sh plays them.
#   The programs come from $HUB_BIN_DIR, or from .build/release.
# Status: 0 end of input, 64 wrong usage, else that of the last stage that failed.
#
#   stdin ─▶ hub-record ─▶ hub-dispatch down ─▶ hub-record ─▶ stdout
#                 │                                  │
#            plain-*.jsonl                     routed-*.jsonl
set -eu
umask 077

[ $# -eq 1 ] || {
    echo "usage: $0 DIRECTORY < down.jsonl > routed.jsonl" >&2
    exit 64
}
PATH=${HUB_BIN_DIR:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.build/release}:$PATH
mkdir -p -- "$1"

hub-record --dir "$1" --name plain --max-size 64MiB --pass |
    hub-dispatch down |
    hub-record --dir "$1" --name routed --max-size 64MiB --pass
