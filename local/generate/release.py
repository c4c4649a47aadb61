"""The artifacts of a release: `python -m local.generate.release [v1.2.0]` writes them to dist/.

    build.zip              the output of `sam build`
    openapi.json           the contract
    python-client.zip      a package that is generated from it
    typescript-client.zip  its types, for openapi-fetch
    notes.md               the version's section of CHANGELOG.md

The version is in pyproject.toml only. Exits with 1 if the tag is of another version, or
CHANGELOG.md has no section for it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local import ROOT
from local.generate.openapi import OPENAPI_FILE, PROJECT

DIST = ROOT / "dist"
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
PYTHON_GENERATOR = "openapi-python-client@0.29.1"
NODE_PACKAGES = ROOT / "tests" / "clients"


def notes_of(version: str, changelog: str) -> str:
    """Return the section of a version. Raises `LookupError`."""
    found = re.search(
        rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)",
        changelog,
        re.DOTALL | re.MULTILINE,
    )
    if found is None:
        raise LookupError(f"CHANGELOG.md has no section {version}")
    return found[1].strip() + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tag", nargs="?", help="must be the version of pyproject.toml, after a v")
    tag = parser.parse_args(arguments).tag
    version = PROJECT["version"]
    if tag and tag != f"v{version}":
        sys.exit(f"The tag is {tag}, and the version in pyproject.toml {version}.")
    try:
        notes = notes_of(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except LookupError as error:
        sys.exit(f"{error}.")
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    (DIST / "notes.md").write_text(notes, encoding="utf-8")
    shutil.copy(OPENAPI_FILE, DIST)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = {
            "build": sam_build(folder / "build"),
            "python-client": python_client(folder / "python" / "api_client").parent,
            "typescript-client": typescript_client(folder / "typescript"),
        }
        for name, content in made.items():
            shutil.make_archive(str(DIST / name), "zip", content)


def sam_build(folder: Path) -> Path:
    sam = Path(sys.executable).with_name("sam")
    _run([sam, "build", "--build-dir", folder], ROOT)
    return folder


def python_client(folder: Path) -> Path:
    """Write a package with the name of the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = ["--meta", "none", "--path", OPENAPI_FILE, "--output-path", folder]
    _run([UV, "tool", "run", PYTHON_GENERATOR, "generate", *options], folder.parent)
    return folder


def typescript_client(folder: Path) -> Path:
    """Write `schema.ts`, and `package.json` with the matching version of openapi-fetch."""
    with tempfile.TemporaryDirectory() as packages:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE_PACKAGES / name, packages)
        _run(["npm", "ci", "--no-audit", "--no-fund"], Path(packages))
        folder.mkdir(parents=True)
        output = folder / "schema.ts"
        _run(["npx", "openapi-typescript", OPENAPI_FILE, "--output", output], Path(packages))
    shutil.copy(NODE_PACKAGES / "package.json", folder)
    return folder


def _run(command: Sequence[str | Path], folder: Path) -> None:
    environment = os.environ | {"UV_SYSTEM_CERTS": "true"}
    subprocess.run(list(map(str, command)), cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    main()
