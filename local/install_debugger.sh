#!/bin/sh
# Install debugpy, as uv.lock pins it, for the Python of Lambda's containers into .local/debugger.
set -eu
export UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true
uv=.tools/uv/bin/uv
machine=$(uname -m | sed 's/^arm64$/aarch64/') # macOS and Linux name it differently
$uv export --quiet --frozen --no-header --only-group debugger |
    $uv pip install --quiet --require-hashes --only-binary :all: --target .local/debugger \
        --python-version 3.13 --python-platform "$machine-manylinux_2_28" --requirements -
