"""A function of the template, ready to run on this machine, and the environment that it sees."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

DEBUG_SECONDS = 900  # the longest that Lambda runs a function


@dataclass(frozen=True)
class Function:
    """A function of the template.

    `environment` is what SAM resolved, AWS_* included; `import_roots` are put on PYTHONPATH in this
    order; a change in one of the `code` directories makes a worker stale. With a `debug_port` it
    waits there for a debugger before it starts; None runs it without.
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
        """Return it with a debugger's port, and all the time that Lambda can give it."""
        return replace(
            self,
            debug_port=port,
            timeout_seconds=DEBUG_SECONDS,
            environment=self.environment | {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(DEBUG_SECONDS)},
        )

    def is_made_from(self, file: Path) -> bool:
        return any(file.is_relative_to(directory) for directory in self.code)

    def worker_environment(self) -> dict[str, str]:
        """Return all that the function sees; of the developer's variables only declared ones."""
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
