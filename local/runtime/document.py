"""The OpenAPI document of a running API, made again when the code is newer: /docs follows it."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from local import ROOT
from local.runtime.function import Function

PATH = "/openapi.json"
FILE = ROOT / "functions" / "meta" / "openapi.json"


def current_document(
    project: Path, functions: Iterable[Function], say: Callable[[str], None]
) -> Callable[[str], None]:
    """Return what is to be called with the path of each request.

    It does nothing for another project's template. Where the code cannot be imported, the document
    stays as it is, and `say` gets a line.
    """
    lock = threading.Lock()
    made_of = 0  # the newest code; the document is not written, and older, if it says the same

    def before(path: str) -> None:
        nonlocal made_of
        if path != PATH or project != ROOT:
            return
        with lock:
            files = [file for one in functions for file in one.code_state().items()]
            newest = max(changed for name, (changed, _) in files if name.endswith(".py"))
            if newest > max(made_of, FILE.stat().st_mtime_ns) and _make(say):
                made_of = newest

    return before


def _make(say: Callable[[str], None]) -> bool:
    """Write the document if it is another one now; return whether the code could be imported."""
    command = [sys.executable, "-m", "local.generate.openapi"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        say(f"the OpenAPI document stays as it was: {done.stderr.strip().splitlines()[-1]}")
    return done.returncode == 0
