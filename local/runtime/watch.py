"""Sees changes of the functions' code and of the template, on a thread of its own."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import DefaultFilter, watch

STEP_MILLISECONDS = 50
DEBOUNCE_MILLISECONDS = 300
TEMPLATE_MILLISECONDS = 500


class Watcher:
    """Calls `on_code` with the paths that changed, and `on_template` when the template did.

    Bytecode, editors' backup files and version control are ignored. Directories that do not exist
    are not watched. The template is polled: editors replace a file, and a watch on it is lost then.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        template: Path,
        on_code: Callable[[set[Path]], None],
        on_template: Callable[[], None],
    ) -> None:
        self._directories = {path.resolve() for path in directories if path.is_dir()}
        self._template = template
        self._on_code = on_code
        self._on_template = on_template
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, within a fraction of a second."""
        self._stop.set()

    def _run(self) -> None:
        seen = self._template_time()
        changes = watch(
            *self._directories,
            watch_filter=DefaultFilter(),
            debounce=DEBOUNCE_MILLISECONDS,
            step=STEP_MILLISECONDS,
            stop_event=self._stop,
            rust_timeout=TEMPLATE_MILLISECONDS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for batch in changes:
            if batch:
                self._on_code({Path(path).resolve() for _, path in batch})
            if (now := self._template_time()) != seen:
                seen = now
                self._on_template()

    def _template_time(self) -> int | None:
        try:
            return self._template.stat().st_mtime_ns
        except FileNotFoundError:
            return None
