"""A pytest plugin that selects the tests, and the number of processes.

`pytest` runs the tests that prove the product, in one process per processor and one more, each with
its own PostgreSQL and Redis. The laboratory is run as well with `--laboratory`. What is named, such
as `pytest tests/layer` or `pytest tests/coherence`, runs as it is named and in this process: it is
done before other processes had started. `-n` gives another number, `-n 0` none.

A file's tests stay together, as they share what is made once for a file. So do those of a folder
that share more: containers, a network, the folder of `sam build`. Whatever else two processes may
make at the same time has a name, a folder or a port of its own.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

LABORATORY = frozenset(
    {
        *("benchmarks", "clients", "coherence", "e2e", "failures"),
        *("install", "network", "poolers", "rehearsal", "shapes", "tokens"),
    }
)
"""Folders of tests that search, attack, wait, or need other programs; `make test-all` runs them."""
TOGETHER = frozenset({"tests/e2e"})
"""Folders whose tests are in one process."""
MAX_PROCESSES = 8
"""More would wait for the longest file."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--laboratory", action="store_true", help="run the laboratory's tests as well")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the laboratory, unless it is named on the command line; None lets others decide."""
    if config.getoption("laboratory"):
        return None
    is_of_tests = collection_path.parent == config.rootpath / "tests"
    is_laboratory = is_of_tests and collection_path.name in LABORATORY
    return is_laboratory or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In several processes, files with slow tests come first: none is left at the end."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(tryfirst=True)  # before xdist's own
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """None for what is named."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return 0
    return min(MAX_PROCESSES, (os.cpu_count() or 1) + 1)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return _FilesAndFolders(config, log)


class _FilesAndFolders(LoadFileScheduling):  # type: ignore[misc]
    """Hands out whole files and whole folders, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in TOGETHER else file
