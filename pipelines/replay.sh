#!/bin/sh
# Yesterday's traffic again: recorded lines of controllers fill a queue, at the pace at which they came or faster, for other nodes if
# wanted. A hub that is started with this queue then delivers them.
#
# Usage: pipelines/replay.sh STATE SPEED FILE… [OPTION OF hub-replay]…
#   STATE is the queue's file, SPEED a number (1 is as recorded) or `max`.
#   The programs come from $HUB_BIN_DIR, or from .build/release.
# Example: pipelines/replay.sh load.db 10 rec/plain-*.jsonl --rename 'shop-1=load-{}' --copies 100
# Status: 0 all was played, 64 wrong usage, else that of the last stage that failed.
#
#   files ─▶ hub-replay ─▶ hub-dispatch down ─▶ hub-queue (stores and ends)
set -eu
umask 077

[ $# -ge 3 ] || {
    echo "usage: $0 STATE SPEED FILE… [OPTION OF hub-replay]…" >&2
    exit 64
}
PATH=${HUB_BIN_DIR:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.build/release}:$PATH
state=$1 speed=$2
shift 2

hub-replay --speed "$speed" "$@" | hub-dispatch down | hub-queue --state "$state"
