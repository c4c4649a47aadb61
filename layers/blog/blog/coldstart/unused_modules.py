"""Third-party modules that are executed when one of their names is used, not when imported.

`import redis.asyncio.connection` executes the `__init__` of `redis` and of `redis.asyncio`, which
import cluster and blocking clients that are never used. SQLAlchemy's dialect imports every driver
that it supports. Submodules of a deferred module are available at once; the first use of any other
name executes it, as the import would have done. Only the time changes: `from redis.asyncio import
Redis` takes as long as before.
"""

import importlib
import importlib.util
import sys
from collections.abc import Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Deferred(ModuleType):
    """A module that has not been executed yet."""

    def __getattr__(self, name: str) -> object:
        submodule = f"{self.__name__}.{name}"
        if "__path__" in self.__dict__ and importlib.util.find_spec(submodule) is not None:
            return importlib.import_module(submodule)
        self._run()
        return getattr(self, name)

    def _run(self) -> None:
        """Run it. Raises what it raises, and so does the next use."""
        assert self.__spec__ is not None
        deferring = self.__spec__.loader
        assert isinstance(deferring, _DeferringLoader)
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__spec__.loader = self.__loader__ = deferring.loader
        try:
            deferring.loader.exec_module(self)
        except BaseException:
            self.__class__ = _Deferred
            self.__spec__.loader = self.__loader__ = deferring
            raise


class _DeferringLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Deferred


class _Finder(MetaPathFinder):
    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


def defer_unused(*names: str) -> None:
    """Defer these modules, except those that were imported before."""
    sys.meta_path.insert(0, _Finder(names))
