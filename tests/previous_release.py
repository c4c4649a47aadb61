"""The release before this checkout: the last tag, such as v1.2.0; before the first, HEAD."""

import subprocess

from tests.resources import ROOT


def archive() -> bytes:
    """Return the release's files, as a tar archive."""
    return _git("archive", tag()).stdout


def file(path: str) -> str:
    return _git("show", f"{tag()}:{path}").stdout.decode()


def tag() -> str:
    described = _git("describe", "--tags", "--abbrev=0", "--match", "v*", is_checked=False)
    return described.stdout.decode().strip() if described.returncode == 0 else "HEAD"


def _git(*arguments: str, is_checked: bool = True) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=is_checked)
