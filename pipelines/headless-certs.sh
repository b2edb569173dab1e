#!/bin/sh
# The certificate authority alone, without a hub: it issues certificates to nodes that have the token, and writes reports of node
# upgrades as lines. Useful where the hubs are many and the authority is one, or to try `curl` and `openssl` on it.
#
# Usage: pipelines/headless-certs.sh DIRECTORY [ADDRESS:PORT] > tasks.jsonl        (default address: 0.0.0.0:10002)
#   DIRECTORY holds CA, server certificate, keys and token; what is missing is made. DIRECTORY/https.port tells the port.
#   The programs come from $HUB_BIN_DIR, or from .build/release.
# Status: 0 after SIGTERM, 64 wrong usage, else that of hub-certs.
set -eu
umask 077

[ $# -eq 1 ] || [ $# -eq 2 ] || {
    echo "usage: $0 DIRECTORY [ADDRESS:PORT] > tasks.jsonl" >&2
    exit 64
}
PATH=${HUB_BIN_DIR:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/.build/release}:$PATH

hub-certs prepare --dir "$1"
printf 'join token: %s\n' "$(hub-certs token --dir "$1")" >&2
exec hub-certs serve --dir "$1" --listen "${2:-0.0.0.0:10002}" --print-port "$1/https.port"
