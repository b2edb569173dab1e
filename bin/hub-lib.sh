# shellcheck shell=sh
# What the scripts of the hub share. To be sourced; `here` is the directory of the script.

fail() { # STATUS MESSAGE
    printf 'hub: %s\n' "$2" >&2
    exit "$1"
}

log_format=${HUB_LOG_FORMAT:-text}

log() { # LEVEL EVENT [KEY VALUE]…; the values are words
    line="level=$1 event=$2" json="{\"level\":\"$1\",\"event\":\"$2\""
    shift 2
    while [ $# -gt 1 ]; do
        line="$line $1=$2" json="$json,\"$1\":\"$2\""
        shift 2
    done
    if [ "$log_format" = json ]; then printf '%s}\n' "$json"; else printf '%s\n' "$line"; fi >&2
}

quote() { # WORD, so that eval gives it back
    printf "'%s'" "$(printf '%s.' "$1" | sed "s/'/'\\\\''/g")" | sed "\$s/\\.'\$/'/"
}

# The programs lie where HUB_BIN_DIR says, or beside this script, or where a release build of this source tree puts them.
find_programs() {
    programs='hub-dispatch hub-queue hub-wsserve hub-keepalive hub-certs hub-replay hub-record hub-service'
    if [ -n "${HUB_BIN_DIR:-}" ]; then
        bin=$HUB_BIN_DIR
    elif [ -x "${here:?}/hub-queue" ]; then
        bin=$here
    elif [ -f "$here/lib.sh" ]; then
        # shellcheck source=bin/lib.sh disable=SC1091
        . "$here/lib.sh"
        # shellcheck disable=SC2086 # a list of names
        build_missing release $programs
        bin=$(build_dir release)
    else
        bin=$here
    fi
    for program in $programs; do
        [ -x "$bin/$program" ] || fail 69 "the program $program is not in $bin"
    done
}

# Where a hub keeps its FIFOs when nobody says where: one place for each user, so that the commands find the hub that runs.
default_run_dir() {
    if [ -n "${HUB_RUN_DIR:-}" ]; then
        printf '%s\n' "$HUB_RUN_DIR"
    elif [ "$(id -u)" -eq 0 ]; then
        printf '/run/hub\n'
    else
        printf '%s/hub-%s\n' "${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}" "$(id -u)"
    fi
}

# A hub runs in that directory; its process id is then in $hub_pid.
runs_in() { # DIRECTORY
    { read -r hub_pid <"$1/hub.pid" && kill -0 "$hub_pid"; } 2>/dev/null
}

# The directory where the stages of that hub keep their metrics.
metrics_dir() { # RUN-DIRECTORY
    { cat "$1/metrics.dir" || printf '%s\n' "$1"; } 2>/dev/null
}
