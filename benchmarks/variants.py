"""Copies of the project that lack one part each, for the ablation.

A part is removed by a small change of the code, or replaced by a stock part, a module of
`replacements`. A test fails when a change no longer fits the code.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cold import REQUESTS
from layers import build

SHIPPED = "as shipped"
SAME = "identical copy"
COPIED = ("functions", "layers", "pyproject.toml", "template.yaml", "uv.lock")
REPLACEMENTS = Path(__file__).with_name("replacements")
FIRST_REQUESTS = {request.name: request for request in REQUESTS if "users" in request.target}
CACHED, NOT_CACHED, ONE_USER = FIRST_REQUESTS

Change = Callable[[str], str]


@dataclass(frozen=True)
class Variant:
    """A copy of the project, changed; `warm` and `cold` are the requests that it concerns."""

    name: str
    changes: Mapping[str, Change] = field(default_factory=dict)
    """By file."""
    sql: str = ""
    """Executed in its database."""
    bytecode: bool = True
    promise: str = ""
    """A promise that the removed part keeps, but the stock part cannot."""
    warm: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()


def appended(text: str) -> Change:
    return lambda source: f"{source}\n\n{text}\n"


def replaced(old: str, new: str) -> Change:
    def change(source: str) -> str:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} occurs {source.count(old)} times")
        return source.replace(old, new)

    return change


def importing(module: str) -> Change:
    """Import, at the end, a module of `replacements` that patches the importing module."""
    return appended(f"import shared.{module}  # noqa: E402, F401")


def returning_models(source: str) -> str:
    """Have FastAPI make the JSON, as for a route that returns the row."""
    ours = re.compile(r"schema\.model_validate\((\w+)\)\.model_dump_json\(by_alias=True\)")
    changed, found = ours.subn(r"stock_json(schema, \1)", source)
    if not found:
        raise ValueError(f"{ours.pattern!r} does not occur")
    return f"{changed}\n\nfrom shared.response_model import stock_json  # noqa: E402\n"


COUNT = """\
def row_count(table_name):
    from sqlalchemy import MetaData, Table

    return select(func.count()).select_from(Table(table_name, MetaData()))
"""
DROP_TRIGGERS = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT tgname, tgrelid::regclass AS place FROM pg_trigger WHERE NOT tgisinternal
    LOOP EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.place); END LOOP;
END $$
"""
COLD_STARTS = (CACHED, NOT_CACHED, ONE_USER)
SHARED = "layers/shared/shared"
COLD_START = f"{SHARED}/coldstart/__init__.py"

PARTS = (
    Variant("no bytecode", bytecode=False, cold=COLD_STARTS),
    Variant(
        "no deferred OpenAPI models",
        {COLD_START: replaced("    defer_openapi_models()\n", "")},
        cold=COLD_STARTS,
    ),
    Variant(
        "imports of unused modules",
        {COLD_START: replaced("    defer(*UNUSED)\n", "")},
        cold=COLD_STARTS,
    ),
    Variant(
        "no lazy imports",
        {COLD_START: replaced("        defer(*deferred)\n", "        pass\n")},
        cold=COLD_STARTS,
    ),
    Variant(
        "SQLAlchemy's pool",
        {f"{SHARED}/database/connection.py": importing("sqlalchemy_pool")},
        promise="a closed connection is noticed without a round trip",
        warm=("one user", "uncached list", "create a user", "update a user"),
        cold=(NOT_CACHED, ONE_USER),
    ),
    Variant(
        "counting rows as PostgreSQL does",
        {f"{SHARED}/database/paged_query.py": appended(COUNT)},
        sql=DROP_TRIGGERS,
        warm=("uncached list", "create a user", "delete a user"),
    ),
    Variant(
        "redis-py's client",
        {f"{SHARED}/cache/redis_connection.py": importing("redis_client")},
        promise="calls are sent whose response is not awaited",
        warm=("cached list", "uncached list", "update a user"),
        cold=(CACHED, NOT_CACHED),
    ),
    Variant(
        "FastAPI's response models",
        {f"{SHARED}/http/resource.py": returning_models},
        promise="an ETag is a hash of the bytes that are sent",
        warm=("one user", "update a user"),
    ),
)
COPY = Variant(
    SAME,
    # Not what needs a database of its own: the copy shares that of the shipped code.
    warm=tuple(dict.fromkeys(kind for part in PARTS if not part.sql for kind in part.warm)),
    cold=COLD_STARTS,
)
VARIANTS = (Variant(SHIPPED), COPY, *PARTS)


def copy_project(folder: Path, variant: Variant) -> None:
    """Copy the shipped code, with the variant's changes, into a new folder."""
    folder.mkdir(parents=True)
    for name in COPIED:
        source = build.ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    shutil.copytree(REPLACEMENTS, folder / SHARED, dirs_exist_ok=True)
    for path, change in variant.changes.items():
        file = folder / path
        file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
