"""Changes to a function's process that apply only on a developer's machine.

This folder is last on the function's PYTHONPATH: keep everything else out of it.
"""

import os
import sys
import time
from collections.abc import Mapping
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from typing import Any

SETTLED_SECONDS = 2.0


class SettledBytecode(SourceFileLoader):
    """Loads a file; neither reads nor writes bytecode of a file that was changed just now.

    To Python bytecode is current if it has the source's size and modification time, in whole
    seconds, which it may have after two changes within a second.
    """

    def path_stats(self, path: str) -> Mapping[str, Any]:
        stats = super().path_stats(path)
        if time.time() - stats["mtime"] < SETTLED_SECONDS:
            raise OSError("loaded without bytecode")
        return stats


def install() -> None:
    """Load the current files, and have `breakpoint()` explain how to debug."""
    loaders = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SettledBytecode, SOURCE_SUFFIXES))
    sys.path_hooks.insert(0, FileFinder.path_hook(*loaders))
    sys.path_importer_cache.clear()
    if sys.breakpointhook is sys.__breakpointhook__:  # not a debugger's
        sys.breakpointhook = _say_how_to_debug


def _say_how_to_debug(*_: object, **__: object) -> None:
    caller = sys._getframe(1)
    name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    place = f"{os.path.relpath(caller.f_code.co_filename)}:{caller.f_lineno}"
    print(
        f"{place}: breakpoint() needs a debugger: python -m local run --debug {name}",
        file=sys.stderr,
    )
