"""The OpenAPI document of a running API, generated again if the code is newer."""

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
    project: Path, functions: Iterable[Function], notify: Callable[[str], None]
) -> Callable[[str], None]:
    """Return a function to call with the path of each request, which updates the document.

    It does nothing for another project's template. If the code cannot be imported, the document is
    left unchanged, and `notify` is called with a line of text.
    """
    lock = threading.Lock()
    # Of the newest code in the document. The file may be older: it is written only if it differs.
    documented_at = 0

    def before(path: str) -> None:
        nonlocal documented_at
        if path != PATH or project != ROOT:
            return
        with lock:
            files = [file for one in functions for file in one.code_state().items()]
            newest = max(changed for name, (changed, _) in files if name.endswith(".py"))
            if newest > max(documented_at, FILE.stat().st_mtime_ns) and _generate(notify):
                documented_at = newest

    return before


def _generate(notify: Callable[[str], None]) -> bool:
    """Write the document if it has changed; return whether the code could be imported."""
    command = [sys.executable, "-m", "local.generate.openapi"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        notify(f"the OpenAPI document is unchanged: {done.stderr.strip().splitlines()[-1]}")
    return done.returncode == 0
