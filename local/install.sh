#!/bin/sh
# Usage: install.sh VENV UV [PYTHON]
# Creates the virtual environment VENV with all packages of uv.lock, hashes checked, by a uv that is
# installed at UV (DIRECTORY/bin/uv), as local/uv-requirements.txt pins it. The two are separate, as uv
# replaces an environment whose Python has changed, with all its contents.
# PYTHON is the name or path of the Python to use. By default it is VENV's own, or the PATH's of Lambda's
# version, or else any that is supported. With GROUP in the environment only that group of
# pyproject.toml is installed.
set -eu
venv=$1 uv=$2 wanted=${3:-}
tools=${uv%/bin/uv}
# Trust the machine's own certificates (uv's new and old name); some networks need them.
export UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true

fail() { printf 'make: %s\n' "$1" >&2; exit 1; }

# Print the interpreter itself: the PATH may have a version manager's shim, or an active environment,
# with which uv would find another Python.
interpreter() {
    "$1" -c '
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    sys.exit(1)
print(sys._base_executable)' 2>/dev/null
}

find_python() {
    for name in ${wanted:-"$venv/bin/python" python3.13 python3.12 python3.14 python3.11 python3}; do
        interpreter "$name" && return
    done
    # Versions that uv installed are not on the PATH.
    [ -z "$wanted" ] && uv python find --no-project --system --no-python-downloads '>=3.11,<3.15' 2>/dev/null
}

install_uv() {
    cmp -s local/uv-requirements.txt "$tools/requirements.txt" && [ -x "$uv" ] && return
    rm -rf "$tools"
    # A uv on the PATH is used only for this: it may be of any version, or a shim without a uv.
    if ! uv pip install --quiet --python "$python" --target "$tools" --require-hashes \
        --requirements local/uv-requirements.txt 2>/dev/null; then
        "$python" -m venv "$tools" ||
            fail 'this Python cannot create a virtual environment; on Debian or Ubuntu: apt install python3-venv'
        "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            --requirement local/uv-requirements.txt ||
            fail 'pip could not install uv; is there a network?'
    fi
    cp local/uv-requirements.txt "$tools/requirements.txt"
}

python=$(find_python) ||
    fail "Python 3.11 to 3.14 is needed, and ${wanted:-no python3 on the PATH} is ${wanted:+not }one."
echo "make: installing the packages of uv.lock into $venv, with $python"
install_uv
# uv replaces the environment of another Python, but not a broken one.
"$venv/bin/python" -c '' 2>/dev/null || rm -rf "$venv"
UV_PROJECT_ENVIRONMENT=$venv "$uv" sync --frozen --quiet --inexact --python "$python" ${GROUP:+--only-group "$GROUP"} ||
    fail 'uv could not install the packages; its message is above.'
