"""Report changes of the code and the template to the developer.

Requests run the current code without this (`local.runtime.pool`). Files are polled, as not every
file system reports changes: those of containers, or of Windows under WSL, do not.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from local.runtime.function import CodeState, Function

POLL_SECONDS = 0.3


@contextmanager
def watching(
    functions: Iterable[Function], template: Path, on_change: Callable[[list[Path]], None]
) -> Iterator[None]:
    """Call `on_change` with the paths that changed, in order, on a thread of its own."""
    functions = list(functions)
    stop = threading.Event()
    seen = _state(functions, template)

    def run() -> None:
        nonlocal seen
        while not stop.wait(POLL_SECONDS):
            now = _state(functions, template)
            changed = [path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path)]
            seen = now
            if changed:
                on_change(sorted(map(Path, changed)))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _state(functions: Iterable[Function], template: Path) -> CodeState:
    state: CodeState = {}
    for function in functions:
        state |= function.code_state()
    with suppress(FileNotFoundError):
        status = template.stat()
        state[str(template)] = (status.st_mtime_ns, status.st_size)
    return state
