# shellcheck shell=sh
# What the scripts of a source tree share: missing packages, and builds. To be sourced; `here` is the directory of the script.

root=$(CDPATH='' cd -- "${here:?}/.." && pwd)

# need_packages COMMAND-OR-FILE=PACKAGE…: installs with apt-get what is missing (as root), else names it and ends with 69.
need_packages() {
    missing=''
    for pair; do
        thing=${pair%%=*} package=${pair#*=}
        case $thing in
        pkg-config:*) pkg-config --exists "${thing#*:}" 2>/dev/null && continue ;;
        *) command -v "$thing" >/dev/null 2>&1 && continue ;;
        esac
        missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        printf '%s: please install these packages first:%s\n' "${0##*/}" "$missing" >&2
        exit 69
    fi
    printf '%s: installing%s\n' "${0##*/}" "$missing" >&2
    # shellcheck disable=SC2086 # a list of names
    { apt-get install -qy --no-install-recommends $missing || { apt-get update -q && apt-get install -qy --no-install-recommends $missing; }; } \
        </dev/null >&2 || {
        printf '%s: apt-get could not install%s\n' "${0##*/}" "$missing" >&2
        exit 69
    }
}

# What a build needs besides Swift.
need_build_packages() {
    command -v swift >/dev/null || {
        printf '%s: Swift 6.2 or later is needed to build the hub; see https://www.swift.org/install\n' "${0##*/}" >&2
        exit 69
    }
    need_packages pkg-config=pkg-config
    need_packages pkg-config:openssl=libssl-dev pkg-config:sqlite3=libsqlite3-dev pkg-config:yaml-0.1=libyaml-dev
}

# Where builds are kept; a build with other options has a place of its own.
scratch=$root/.build

# build_dir debug|release: where its executables lie.
build_dir() {
    printf '%s\n' "$scratch/$1"
}

# build debug|release [ARGUMENT…]: with progress on standard error.
build() {
    configuration=$1
    shift
    need_build_packages
    printf '%s: building (%s), which takes minutes the first time\n' "${0##*/}" "$configuration" >&2
    # Other users may run what is built, whatever mask the caller has for its secrets.
    (umask 022 && swift build --package-path "$root" --scratch-path "$scratch" -c "$configuration" "$@") </dev/null >&2 || {
        printf '%s: the build failed\n' "${0##*/}" >&2
        exit 70
    }
}

# build_missing debug|release PROGRAM…: builds unless all are there.
build_missing() {
    wanted=$1
    shift
    for program; do
        [ -x "$(build_dir "$wanted")/$program" ] || {
            build "$wanted"
            return
        }
    done
}

# python_environment: the path of a Python environment that has what the tests need; made anew when the requirements change.
python_environment() {
    venv=$root/.build-venv requirements=$root/Tests/blackbox/requirements.txt
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        need_packages python3=python3
        python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages no-such-command=python3-venv
        rm -rf -- "$venv"
        if ! python3 -m venv "$venv" >&2 || ! "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" >&2; then
            printf '%s: the Python packages of Tests/blackbox/requirements.txt cannot be installed\n' "${0##*/}" >&2
            exit 69
        fi
        cp "$requirements" "$venv/requirements.txt"
    fi
    printf '%s\n' "$venv"
}
