"""Watches the functions' code and the template for changes."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from watchfiles import DefaultFilter, watch

STEP_MILLISECONDS = 50
DEBOUNCE_MILLISECONDS = 300
TEMPLATE_MILLISECONDS = 500


@contextmanager
def watching(
    directories: Iterable[Path],
    template: Path,
    on_code: Callable[[set[Path]], None],
    on_template: Callable[[], None],
) -> Iterator[None]:
    """Call `on_code` with the paths that change, and `on_template`, on a thread of its own.

    Bytecode, editors' backup files, version control and missing directories are ignored. The
    template is polled: editors replace a file, and a watch on it is lost then.
    """
    stop = threading.Event()

    def run() -> None:
        seen = _modified_at(template)
        changes = watch(
            *(path.resolve() for path in directories if path.is_dir()),
            watch_filter=DefaultFilter(),
            debounce=DEBOUNCE_MILLISECONDS,
            step=STEP_MILLISECONDS,
            stop_event=stop,
            rust_timeout=TEMPLATE_MILLISECONDS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for batch in changes:
            if batch:
                on_code({Path(path).resolve() for _, path in batch})
            if (now := _modified_at(template)) != seen:
                seen = now
                on_template()

    threading.Thread(target=run, daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _modified_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
