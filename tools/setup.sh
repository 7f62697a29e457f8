#!/usr/bin/env bash
# Make a fresh Debian or Ubuntu machine ready for cudactl's demo and tests: programs, virtual
# environment, Docker Engine. Looks first, says what it is about to do, does only what is missing;
# may be run at any time, and is done at once when nothing is missing.
#
#   PYTHON=python3.12 tools/setup.sh    another interpreter for the virtual environment
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # where dockerd lives; often not in a user's PATH

VENV=.venv
STAMP=$VENV/.setup-stamp
DOCKERD_LOG=/var/log/cudactl-dockerd.log
INOTIFY=/proc/sys/fs/inotify/max_user_instances
INOTIFY_WANTED=8192 # 128, the usual value, crashes systemd in about the 20th lab host
SUDO=
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: ERROR: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

# --- root ---------------------------------------------------------------------------------------

become_root() {
    if [ "$(id -u)" -eq 0 ] || [ -n "$SUDO" ]; then return; fi
    command -v sudo >/dev/null || fail "$1 needs root, and there is no sudo." "Run this once as root: tools/setup.sh"
    if [ -t 0 ]; then
        SUDO=sudo
    elif sudo -n true 2>/dev/null; then
        SUDO='sudo -n'
    else
        fail "$1 needs root, sudo asks for a password, and there is no terminal." "Run this once in a terminal: tools/setup.sh"
    fi
}

# --- Python -------------------------------------------------------------------------------------

supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; }

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python from 3.10 to 3.14 ($("$PYTHON" --version 2>&1 | head -n 1 || true))."
        return
    fi
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if supported "$PYTHON"; then return; fi
    done
    fail "no Python from 3.10 to 3.14 found; python3 is $(python3 --version 2>&1 || echo missing)." \
        "Install one (Debian 12 and Ubuntu 22.04 or newer have it), or name it: make setup PYTHON=/path/to/python3.12"
}

# --- Debian packages ----------------------------------------------------------------------------

missing_packages() {
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    command -v gcc >/dev/null || echo gcc
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    command -v mmdebstrap >/dev/null || echo mmdebstrap
    command -v gpg >/dev/null || echo gpg
    command -v gpgv >/dev/null || echo gpgv
    command -v gpg-agent >/dev/null || echo gpg-agent
    command -v ssh >/dev/null && command -v ssh-keygen >/dev/null || echo openssh-client
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
}

install_packages() { # PACKAGE...
    command -v apt-get >/dev/null || fail "missing: $*; and there is no apt-get to install them with." \
        "cudactl's lab runs on Debian and Ubuntu; elsewhere install these programs by hand."
    become_root "Installing $*"
    say "about to install from the distribution, with apt-get: $*"
    if [ -t 0 ] && [ -t 1 ]; then
        read -r -p 'setup: go on? [Y/n] ' answer
        case "$answer" in '' | y | Y | yes) ;; *) fail "stopped; nothing was changed." ;; esac
    fi
    $SUDO apt-get update -qq || say "apt-get update did not fully succeed; trying with the package lists that are there"
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >"$LOG" 2>&1 ||
        fail "apt-get could not install: $*" "Its last words:" "$(tail -n 15 "$LOG")"
    say "installed: $*"
}

# --- Docker Engine ------------------------------------------------------------------------------

# A docker command says nothing about an engine: ask the engine itself, as the lab will. Ends 0 when
# it answers, 2 when it is there and refuses this user, 1 when there is none.
engine_answers() {
    case "${DOCKER_HOST:-unix:///var/run/docker.sock}" in
    unix://*) ;;
    *) "$VENV/bin/python" -c 'import docker; docker.from_env(timeout=10).ping()' 2>/dev/null && return 0 || return 1 ;;
    esac
    "$PYTHON" -I -S - "${DOCKER_HOST:-unix:///var/run/docker.sock}" <<'PY'
import socket, sys
try:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(sys.argv[1][len("unix://"):])
    s.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
    sys.exit(b" 200 " not in s.recv(64))
except PermissionError:
    sys.exit(2)
except OSError:
    sys.exit(1)
PY
}

wait_for_engine() { # SECONDS
    local tries=$(($1 * 4)) answer
    while [ "$tries" -gt 0 ]; do
        answer=0
        engine_answers || answer=$?
        if [ "$answer" -ne 1 ]; then return 0; fi
        sleep 0.25
        tries=$((tries - 1))
    done
    return 1
}

start_engine() {
    become_root "Starting the Docker Engine"
    if [ -d /run/systemd/system ]; then
        say "about to start the Docker Engine with systemctl"
        $SUDO systemctl reset-failed docker.service docker.socket 2>/dev/null || true
        $SUDO systemctl start docker.service || fail "systemctl could not start docker.service." \
            "Its last words:" "$($SUDO journalctl --unit docker.service --lines 10 --no-pager --output cat)"
    else
        say "about to start the Docker Engine by hand, as systemd is not running here: dockerd, log in $DOCKERD_LOG"
        # Its own session, no open descriptor of ours: it must outlive this script and whoever called it.
        $SUDO sh -c "setsid dockerd >>$DOCKERD_LOG 2>&1 </dev/null 8>&- &"
    fi
    wait_for_engine 60 || fail "the Docker Engine did not answer within 60 s." \
        "Its last words:" "$(tail -n 5 "$DOCKERD_LOG" 2>/dev/null || echo "none in $DOCKERD_LOG")"
}

open_engine_to_user() {
    become_root "Giving $(id -un) access to the Docker Engine"
    say "about to put $(id -un) into the group docker (as good as root), and to open the engine's socket for this login"
    command -v setfacl >/dev/null || install_packages acl
    $SUDO usermod -aG docker "$(id -un)"
    $SUDO setfacl -m "u:$(id -un):rw" /var/run/docker.sock
}

ask_engine() { # sets ANSWER as engine_answers ends
    ANSWER=0
    engine_answers || ANSWER=$?
}

ready_engine() {
    ask_engine
    if [ "$ANSWER" -eq 1 ] && [ -n "${DOCKER_HOST:-}" ]; then
        fail "the Docker Engine that DOCKER_HOST=$DOCKER_HOST names does not answer." "Start it, or unset DOCKER_HOST to use one on this machine."
    fi
    if [ "$ANSWER" -eq 1 ] && ! command -v dockerd >/dev/null; then
        say "no working Docker Engine found (a docker command alone is not one)"
        install_packages docker.io
        wait_for_engine 3 || true # its package starts it where it can
        ask_engine
    fi
    # systemd's socket is there, and closed to this user, before the engine behind it is known to run.
    if [ "$ANSWER" -eq 2 ]; then open_engine_to_user && ask_engine; fi
    if [ "$ANSWER" -eq 1 ]; then start_engine && ask_engine; fi
    if [ "$ANSWER" -eq 2 ]; then open_engine_to_user && ask_engine; fi
    if [ "$ANSWER" -ne 0 ]; then
        fail "the Docker Engine still does not take $(id -un)." "Log out and in again, then run tools/setup.sh once more."
    fi
}

raise_inotify() {
    if [ ! -e "$INOTIFY" ] || [ "$(cat "$INOTIFY")" -ge 1024 ]; then return; fi
    become_root "Raising fs.inotify.max_user_instances"
    say "about to raise fs.inotify.max_user_instances from $(cat "$INOTIFY") to $INOTIFY_WANTED, until the next reboot"
    $SUDO sh -c "echo $INOTIFY_WANTED > $INOTIFY" || say "could not; more than about 15 lab hosts at once may fail"
}

# --- the virtual environment --------------------------------------------------------------------

ready_venv() {
    local wanted
    wanted="$(sha256sum pyproject.toml | cut -c1-64) $PWD"
    if [ -x "$VENV/bin/python" ] && supported "$VENV/bin/python"; then
        # A PYTHON that was asked for by name wins over the one that the environment was made with.
        if [ "$PYTHON_CHOSEN" = yes ] && [ "$("$VENV/bin/python" -c 'import sys; print(sys.version)')" != "$("$PYTHON" -c 'import sys; print(sys.version)')" ]; then
            say "making $VENV again with $("$PYTHON" --version)"
            rm -rf "$VENV"
        elif [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    else
        rm -rf "$VENV"
    fi
    if [ ! -d "$VENV" ]; then
        say "making the virtual environment $VENV with $("$PYTHON" --version) and installing into it (about a minute)"
        "$PYTHON" -m venv "$VENV"
    else
        say "bringing the virtual environment $VENV up to date with pyproject.toml"
    fi
    # pip 25.1 is the first that knows --group.
    "$VENV/bin/python" -m pip install --disable-pip-version-check 'pip>=25.1' >"$LOG" 2>&1 &&
        "$VENV/bin/python" -m pip install --disable-pip-version-check --editable . --group dev >"$LOG" 2>&1 ||
        fail "pip could not install the project's dependencies; a package index must be reachable." \
            "Its last words:" "$(tail -n 15 "$LOG")"
    printf '%s\n' "$wanted" >"$STAMP"
}

# ------------------------------------------------------------------------------------------------

PYTHON_CHOSEN=${PYTHON:+yes}
exec 8>"${TMPDIR:-/tmp}/cudactl-setup-$(id -u).lock"
flock 8 # two at once would both install
choose_python
mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}"; fi
ready_venv
ready_engine
raise_inotify
