"""A function of the template, ready to run on this machine, and its environment."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

DEBUG_SECONDS = 900  # Lambda's maximum timeout
CodeState = dict[str, tuple[int, int]]
"""The modification time of each file, in nanoseconds, and its size in bytes, by path."""


@dataclass(frozen=True)
class Function:
    """A function of the template.

    `environment` is resolved by SAM, AWS_* included; `import_roots` are PYTHONPATH, in this order;
    a change in one of the `code` directories makes a worker stale. With a `debug_port` the function
    waits there for a debugger before it starts.
    """

    name: str
    handler: str
    runtime: str
    timeout_seconds: int
    environment: dict[str, str]
    import_roots: tuple[Path, ...]
    code: tuple[Path, ...]
    debug_port: int | None = None

    def debugged(self, port: int) -> "Function":
        """Return the function with a debugger's port, and Lambda's maximum timeout."""
        return replace(
            self,
            debug_port=port,
            timeout_seconds=DEBUG_SECONDS,
            environment=self.environment | {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(DEBUG_SECONDS)},
        )

    def code_state(self) -> CodeState:
        """Return the state of all files of the code, within a millisecond."""
        return dict(item for directory in self.code for item in _states(str(directory)))

    def worker_environment(self) -> dict[str, str]:
        """Return the complete environment; of the developer's variables only declared ones."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(self.import_roots[0]),
            "PYTHONPATH": os.pathsep.join(map(str, self.import_roots)),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.runtime}",
            # SAM's fake credentials are in `environment`; keep SDKs from finding real ones.
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if "LD_LIBRARY_PATH" in os.environ:  # some Pythons need it to start
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        return environment | self.environment


def _states(directory: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the states of files, except bytecode and files of editors and version control."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__pycache__")) or entry.name.endswith("~"):
                continue
            if entry.is_dir():
                yield from _states(entry.path)
            else:
                status = entry.stat()
                yield entry.path, (status.st_mtime_ns, status.st_size)
