"""Modules that are executed when one of their names is used, not when they are imported.

A cached page needs no database, and SQLAlchemy with its driver costs a cold start more than
everything else. `import redis.asyncio.connection` executes the `__init__` of `redis` and of
`redis.asyncio`, which import cluster and blocking clients that are never used.

The import of a deferred module creates the module object, which is empty until the first use of a
name executes it. So it is executed once, whatever imports it or its submodules in between, and
submodules can be used without it. The cost: an error in such a module appears at its first use
instead of at the start. Every later use executes the module again, and raises the error again; with
`importlib.util.LazyLoader` a later use would fail with an unrelated `AttributeError`.
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
        _execute(self)
        return getattr(self, name)


def _execute(module: _Deferred) -> None:
    """Execute the module. Raises its errors, after which it is deferred again."""
    assert module.__spec__ is not None
    deferring = module.__spec__.loader
    assert isinstance(deferring, _DeferringLoader)
    before = dict(module.__dict__)
    module.__class__ = ModuleType  # type: ignore[assignment]
    module.__spec__.loader = module.__loader__ = deferring.loader
    try:
        deferring.loader.exec_module(module)
    except BaseException:
        module.__dict__.clear()
        module.__dict__.update(before)
        module.__class__ = _Deferred
        module.__spec__.loader = deferring
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


def defer(*names: str) -> None:
    """Defer these modules, except modules that are imported already."""
    sys.meta_path.insert(0, _Finder(names))
