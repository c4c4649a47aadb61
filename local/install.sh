#!/bin/sh
# Usage: install.sh VENV
# Makes the virtual environment VENV with all packages of uv.lock, their hashes checked.
# Uses the uv on the PATH, or brings its own into VENV with the newest Python there is.
set -eu
venv=$1

fail() { printf 'make: %s\n' "$1" >&2; exit 1; }

find_python() {
    for name in python3.13 python3.12 python3.14 python3.11 python3; do
        "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null &&
            { command -v "$name"; return; }
    done
    return 1
}

python=$(find_python) || fail 'Python 3.11 or later is needed, and no python3 on the PATH is one.'
if command -v uv >/dev/null; then
    uv=uv
else
    echo "make: making $venv with $python"
    "$python" -m venv "$venv" || fail "this Python cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement local/uv-requirements.txt ||
        fail 'pip could not install uv; is the network there?'
    uv=$venv/bin/uv
fi
# The machine's own certificates, by uv's new name and its old one: some networks need them.
export UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true
echo 'make: installing the packages of uv.lock'
UV_PROJECT_ENVIRONMENT=$venv "$uv" sync --frozen --quiet --inexact --python "$python" ||
    fail 'uv could not install the packages; its message is above.'
