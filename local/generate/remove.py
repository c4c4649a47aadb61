"""Remove resources: `python -m local.generate.remove tickets`.

The function of each, its models, tests and sample events, and its section of the API's page are
removed, a migration drops its tables, and files that follow from the routes are generated again.
Tests that import it, the pages about it except lessons, and the demo data and benchmarks if they
need it are removed too; these, and the places that still name it, are printed. A resource is not
removed while another table refers to it, or another function uses its tables. The working tree must
be clean, so that `git restore .` with `git clean -fd` undoes the removal, as the command does
itself if a step fails.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from local import ROOT
from local.generate.prune import Gone, edit, prune, without_lines
from local.generate.repository import (
    FUNCTIONS,
    CommandError,
    generate,
    listed_files,
    require_clean_tree,
    resources,
    tidy,
    undone_if_it_fails,
)
from local.generate.statements import Module, defined_by, imported_by, used_by
from shared.database.models import METADATA, identities

TEMPLATE = ROOT / "template.yaml"
MODELS = "shared.database.models"
MODELS_FILE = ROOT / "layers" / "shared" / "shared" / "database" / "models.py"
BENCHMARKS = Gone(frozenset({"benchmarks"}), re.compile(r"\bbenchmarks(?=[/.]| \w+`)|make bench\b"))
COPIES = ("tests/install/test_adding_a_resource.py", "tests/shapes", "tests/*/shapes")
"""Tests that change the example in copies of the repository."""
CHANGED_COPIES = Gone(
    frozenset(), re.compile(r"\btests/(?:\w+/)?shapes\b|\btest_adding_a_resource\b")
)
DEMO_MODULES = ("data", "rows", "vocabulary")
DEMO_DATA = Gone(
    frozenset(f"local.demo.{name}" for name in DEMO_MODULES),
    re.compile(r"\bdemo[-_]data\b|\blocal\.demo\.data\b"),
)
EXAMPLE = "meta"
"""A function that every product has, for comments and settings that name one."""
LESSONS = (
    "docs/changing-a-resource.md",
    "docs/leaving-out.md",
    "docs/membership.md",
    "docs/more-operations.md",
    "docs/recipes.md",
    "docs/tour.md",
)
"""Pages that teach by the example what any resource can have."""
HISTORY = (
    "functions/migrations/versions/",
    "CHANGELOG.md",
    "uv.lock",
    "docs/adr/",
    "local/generate/mine.py",
    *LESSONS,
)
"""Files that may name removed resources."""


def main() -> None:
    names = " ".join(sys.argv[1:]).split()
    try:
        require_clean_tree()
        check(names)
        with undone_if_it_fails():
            for line in remove(names):
                print(line)
    except CommandError as error:
        sys.exit(str(error))


def remove(names: Collection[str]) -> Iterator[str]:
    """Remove these resources; yield other removed files, and the places that still name them."""
    gone, models = gone_with(names), _own_models(names)
    functions = {_logical_id(name): name for name in names}
    if any((ROOT / "tests" / name / "shapes").exists() for name in names):
        yield from remove_copies()
    for name in names:
        shutil.rmtree(FUNCTIONS / name)
        shutil.rmtree(ROOT / "tests" / name, ignore_errors=True)
        for event in (ROOT / "local" / "events").glob(f"{name}-*.json"):
            event.unlink()
    _remove_models(models)
    edit(TEMPLATE, lambda text: _without_functions(text, names))
    edit(ROOT / "CHANGELOG.md", lambda text: _with_removal(text, names))
    if _need(ROOT / "local" / "demo", gone):
        yield from _remove_demo_data()
    if _need(ROOT / "benchmarks", gone):
        yield from remove_benchmarks()
    yield from prune(ROOT, gone, [name.capitalize() for name in names], LESSONS)
    for path in (ROOT / "samconfig.toml", ROOT / "layers" / "build.mk", *_files("local/**/*.py")):
        edit(path, lambda text: _with_example(text, functions))
    generate(ROOT, f"Remove {' and '.join(names)}")
    tidy()
    yield from (f"still named: {place}" for place in _places(gone))


def _with_removal(changelog: str, names: Iterable[str]) -> str:
    """Add the removal to the breaking changes of the next release."""
    lines = "".join(f"- `/{name}` and what is below it are gone.\n" for name in names)
    before, heading, after = changelog.partition("## Unreleased\n\n")
    if after.startswith("### Breaking\n\n"):
        after = after.removeprefix("### Breaking\n\n")
        return f"{before}{heading}### Breaking\n\n{lines}{after}"
    return f"{before}{heading}### Breaking\n\n{lines}\n{after}"


def check(names: Collection[str]) -> None:
    """Raise `CommandError` unless these are resources that no other table or function needs."""
    if not names or not set(names) <= set(resources()):
        raise CommandError(
            f"say which resource: NAME={' or '.join(resources()) or '(there is none)'}"
        )
    removed = _own_models(names)
    for table in METADATA.tables.values():
        for key in table.foreign_keys:
            referred = key.column.table.name
            stays = table.name not in removed and table is not identities
            if stays and referred in removed:
                raise CommandError(
                    f"{table.name}.{key.parent.name} refers to {referred}: remove {table.name}"
                    f" first, or its column, or both (NAME='{' '.join([*names, table.name])}')"
                )

    for path in _files("functions/**/*.py"):
        used = sorted(_imported_models(path) & removed)
        if used and path.relative_to(FUNCTIONS).parts[0] not in names:
            place = path.relative_to(ROOT)
            raise CommandError(f"{place} uses {', '.join(used)}: remove that first")


def gone_with(names: Collection[str]) -> Gone:
    """Return the code that is removed with these resources."""
    modules = {f"{package}{name}" for name in names for package in ("", "tests.")}
    modules |= {f"{MODELS}.{name}" for name in _own_models(names)}
    named = re.compile("|".join(map(_pattern, names)), re.MULTILINE)
    return Gone(frozenset(modules), named, frozenset(_named_before(names, named)))


def _named_before(names: Collection[str], named: re.Pattern[str]) -> Iterator[Path]:
    """Yield the files that had the pattern before the resources were added: they mean other things.

    OpenAPI has tags, say, and pages have tickets as an example.
    """
    folders = [f"functions/{name}" for name in names]
    added = _git("log", "--diff-filter=A", "--format=%H", "--", *folders).splitlines()
    before = f"{added[-1]}^" if added else ""
    if not before or not _git("rev-parse", "--verify", "--quiet", before):
        return
    for path in listed_files():
        is_named = named.search(path.read_text(encoding="utf-8"))
        if is_named and named.search(_git("show", f"{before}:{path.relative_to(ROOT)}")):
            yield path


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
    )
    return done.stdout


def _pattern(name: str) -> str:
    """Return a pattern of texts that name a resource: its path, folders, table, operations, …"""
    modules = "|".join(file.stem for file in (FUNCTIONS / name).glob("[a-z]*.py"))
    return "|".join(
        [
            rf"(?:(?<![\w.\-])|//[\w.:]+)/{name}(?![\w\-])",
            rf"\b(?:functions|tests|events)/{name}\b",
            rf"\b{name}\.(?:{modules})\b",
            rf"[\"']{name}(?=[\"'|:@.])",
            rf"\b(?:FROM|INTO|UPDATE|TABLE|JOIN|ON|ONLY|TRUNCATE|USING|COPY) (?:public\.)?{name}\b",
            rf"^ +{name}/ ",
            rf"\b{_logical_id(name)}\b",
            *(rf"\b{operation}\b" for operation in _operations(name)),
        ]
    )


def _operations(name: str) -> Iterator[str]:
    for node in ast.parse((FUNCTIONS / name / "routes.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AsyncFunctionDef):
            yield node.name


def _logical_id(name: str) -> str:
    """Return the name of the function's block in the template."""
    (logical_id,) = re.findall(_block_of(name), TEMPLATE.read_text(encoding="utf-8"), re.MULTILINE)
    return str(logical_id)


def _block_of(name: str) -> str:
    """Return a pattern of a function's block in the template; the group is its name."""
    lines = r"(?:    .*\n)"
    return rf"^  (\w+):\n(?={lines}+?      CodeUri: functions/{name}\n){lines}+\n?"


def _without_functions(text: str, names: Iterable[str]) -> str:
    for name in names:
        text = re.sub(_block_of(name), "", text, flags=re.MULTILINE)
    return text


def _own_models(names: Collection[str]) -> set[str]:
    """Return the names of the models that only these functions use, tables and others."""
    own = set(names)
    others: set[str] = set()
    for path in _files("functions/**/*.py", "layers/**/*.py"):
        is_own = path.parent.parent == FUNCTIONS and path.parent.name in names
        (own if is_own else others).update(_imported_models(path))
        if path.is_relative_to(ROOT / "layers"):  # SQL of the layer
            code = path.read_text(encoding="utf-8")
            others.update(re.findall(r"\b(?:FROM|INTO|UPDATE) (\w+)", code))
    own = set(names) | (own - others)
    module = Module.read(MODELS_FILE)
    definitions = _definitions(module, own)
    used = {name for one in module.nodes if one not in definitions for name in used_by(one)}
    return set(names) | (own - used)


def _imported_models(path: Path) -> set[str]:
    of_models = f"{MODELS}."
    names = (name for name in imported_by(path) if name.startswith(of_models))
    return {name.removeprefix(of_models) for name in names}


def _definitions(module: Module, models: Collection[str]) -> list[ast.stmt]:
    """Return the definitions of these tables and names, and the classes of their columns."""
    found = [node for node in module.nodes if set(defined_by(node)) & set(models)]
    needed = {name for node in found for name in used_by(node)}
    classes = (node for node in module.nodes if isinstance(node, ast.ClassDef))
    return [*found, *(node for node in classes if node.name in needed)]


def _remove_models(models: Collection[str]) -> None:
    module = Module.read(MODELS_FILE)
    for node in _definitions(module, models):
        module.drop(node)
    text = module.text()
    for name in models:  # the table of owners may be gone
        text = re.sub(rf', ForeignKey\("{name}\.id"[^)]*\)', "", text)
    MODELS_FILE.write_text(text, encoding="utf-8")


def _remove_demo_data() -> Iterator[str]:
    """Remove the command and its rows, but not the values of columns, which tests use too."""
    for name in DEMO_MODULES:
        (ROOT / "local" / "demo" / f"{name}.py").unlink()
    yield "removed: demo data"
    program = Module.read(ROOT / "local" / "__main__.py")
    for node in program.nodes:
        if "_demo_data" in defined_by(node):
            program.drop(node)
    program.path.write_text(program.text(), encoding="utf-8")
    for path in (program.path, ROOT / "local" / "__init__.py"):
        edit(path, lambda text: without_lines(text, re.compile(r"\bdemo(_data)?\b")))
    yield from prune(ROOT, DEMO_DATA)


def remove_copies() -> Iterator[str]:
    """Remove the tests that change the example in copies; yield their paths."""
    for path in [path for pattern in COPIES for path in ROOT.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield f"removed: {path.relative_to(ROOT)}"
    _remove_from_laboratory("shapes")
    yield from prune(ROOT, CHANGED_COPIES)


def remove_benchmarks() -> Iterator[str]:
    """Remove the benchmarks; yield the removed files."""
    shutil.rmtree(ROOT / "benchmarks")
    shutil.rmtree(ROOT / "tests" / "benchmarks", ignore_errors=True)
    (ROOT / "docs" / "benchmarks.md").unlink()
    yield "removed: benchmarks, tests/benchmarks, docs/benchmarks.md"
    edit(ROOT / "pyproject.toml", _without_benchmarks)
    _remove_from_laboratory("benchmarks")
    yield from prune(ROOT, BENCHMARKS, ["Benchmarks", "Local runtimes compared"])


def _remove_from_laboratory(folder: str) -> None:
    edit(ROOT / "tests" / "parallel.py", lambda text: text.replace(f'"{folder}", ', ""))


def _without_benchmarks(text: str) -> str:
    text = re.sub(r'\[\[[\w.]+\]\]\nmodule = "benchmarks\..*\n.*\n\n', "", text)
    text = text.replace(', "benchmarks"]', "]")
    return without_lines(text, re.compile(r"\bbenchmarks/"))


def _need(folder: Path, gone: Gone) -> bool:
    files = {*folder.glob("**/*.py")} - gone.kept
    texts = (path.read_text(encoding="utf-8") for path in files)
    return any(gone.named.search(text) for text in texts)


def _with_example(text: str, functions: dict[str, str]) -> str:
    """Replace these functions in comments and settings by another one."""
    for logical_id, name in functions.items():
        text = text.replace(logical_id, f"{EXAMPLE.title()}Function")
        text = text.replace(f"functions/{name}", f"functions/{EXAMPLE}")
        text = text.replace(f"{name}.handler", f"{EXAMPLE}.handler")
    return text


def _places(gone: Gone) -> Iterator[str]:
    for path in listed_files():
        name = str(path.relative_to(ROOT))
        if not name.startswith(HISTORY) and path not in gone.kept:
            lines = path.read_text(encoding="utf-8").splitlines()
            yield from (f"{name}:{n}" for n, line in enumerate(lines, 1) if gone.named.search(line))


def _files(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from ROOT.glob(pattern)


if __name__ == "__main__":
    main()
