"""Make the repository a product's own: `python -m local.generate.mine shop "Shop API"`.

The product's names replace this project's in every file: stacks, roles, databases, metrics, README;
CHANGELOG is started again. `--lab drop` removes tests of the layer rather than of the product:
model checking, attacks, failures, benchmarks with their results, decision records;
`--examples drop` removes the example's resources. Finally this command removes itself, and the
tests that change the example in copies of the repository.

The working tree must be clean: then `git diff` shows the changes, and `git restore .` with
`git clean -fd` undoes them, as the command does itself if a step fails.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from local import ROOT
from local.errors import LocalError
from local.generate.prune import Gone, edit, prune
from local.generate.remove import check, remove, remove_benchmarks, remove_copies
from local.generate.repository import (
    RESERVED,
    CommandError,
    listed_files,
    require_clean_tree,
    resources,
    tidy,
    undone_if_it_fails,
)
from local.services import empty_services
from tests.parallel import LABORATORY

TITLE = "Users & Posts API"
NAME = "users-and-posts"
SHORT_NAME = "blog"
"""This project's names: the API's title, of stacks and packages, and of databases and roles."""
PRODUCT = re.compile(r"(?=.{2,15}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""A product's name, of which infrastructure/delivery/roles.yaml makes a `StackPrefix`."""
DATABASES = frozenset({"postgres", "rdsadmin", "template0", "template1"})
"""Of every server of PostgreSQL, or of RDS."""
MAX_TITLE = 60
"""Characters of a title: lines of code that have it stay within their length."""
EXAMPLES = {"posts", "users"}
THIS = Gone(frozenset({"local.generate.mine"}), re.compile(r"\bgenerate[./]mine\b|make mine\b"))
MEASURED = ("benchmarks/README.md", "benchmarks/results")
"""What was measured here, under this project's name."""
KEPT = frozenset({"clients", "e2e", "rehearsal"})
"""Folders of the laboratory that a product needs for deployments and releases."""
CHECKS = """#!/usr/bin/env bash
# The checks that every change must pass.
set -euo pipefail
cd "$(dirname "$0")/.."

make install
make lint
make scan
make test-all && tested=0 || tested=$?
make rehearse ARGS='-n 0 -m quick' && rehearsed=0 || rehearsed=$?
exit $((tested + rehearsed))
"""
CHANGELOG = """# Changelog

The format follows [Keep a Changelog](https://keepachangelog.com/en/1.1.0/); versions follow
[Semantic Versioning](https://semver.org/spec/v2.0.0.html).

## Unreleased

### Breaking

- Everything is new.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of stacks and packages, such as shop")
    parser.add_argument("title", help="of the API, such as 'Shop API'")
    for part in ("--lab", "--examples"):
        parser.add_argument(part, choices=("keep", "drop"), default="keep")
    chosen = parser.parse_args()
    try:
        check_names(chosen.name, chosen.title)
        require_clean_tree()
        removed = sorted(EXAMPLES & {*resources()}) if chosen.examples == "drop" else []
        if removed:
            check(removed)
        with undone_if_it_fails():
            for line in make_mine(chosen.name, chosen.title, chosen.lab, removed):
                print(line)
        print("Read what changed (git diff), then: make test; then git add -A and git commit")
    except CommandError as error:
        sys.exit(str(error))


def make_mine(name: str, title: str, lab: str, removed: Collection[str]) -> Iterator[str]:
    """Change the files, and remove these resources; yield a line for each removed file."""
    _rename(name, title)
    if lab == "drop":
        yield from _remove_laboratory()
    if removed:
        yield from remove(removed)
    yield from remove_copies()  # their diffs may not fit a product, nor their names be free there
    Path(__file__).unlink()
    yield from prune(ROOT, THIS, ["Making it yours"])
    (ROOT / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    tidy()
    yield from _remove_databases()


def check_names(name: str, title: str) -> None:
    """Raise `CommandError` unless a product can have this name and title."""
    if not name:
        raise CommandError("say, for example, NAME=shop TITLE='Shop API'")
    if reason := _why_not(name):
        raise CommandError(f"NAME={name}: {reason}")
    is_line = title.isprintable() and title == title.strip() and 0 < len(title) <= MAX_TITLE
    if not is_line or set(title) & set("\"'\\"):
        raise CommandError(
            f"TITLE must be one line of up to {MAX_TITLE} characters, such as Shop API,"
            " without quotes and backslashes"
        )


def _why_not(name: str) -> str | None:
    """Return why a product cannot have this name, as its database and roles have it too."""
    database = name.replace("-", "_")
    if not PRODUCT.fullmatch(name):
        return "it must be like shop or my-shop, of 2 to 15 characters"
    if database in RESERVED:
        return "SQL reserves this word, and RDS makes no database of such a name"
    if database in DATABASES:
        return "servers of PostgreSQL have a database of this name already"
    if name.partition("-")[0] in ("pg", "rds"):
        return f"PostgreSQL and RDS reserve names like {database}_app, which a role would have"
    if name in ("no", "yes"):
        return "YAML takes this word for true or false"
    return None


def _rename(name: str, title: str) -> None:
    """Put the product's names into every file except the measured results."""
    names = {
        re.escape(TITLE): title,
        rf"\b{NAME}\b": name,
        _camel_case(NAME): _camel_case(name),
        rf"\b{SHORT_NAME}(?=[-@]|\.\w)": name,  # of a server or a user of AWS: no underscores
        rf"\b{SHORT_NAME}(?![a-z])": name.replace("-", "_"),
    }
    pattern = re.compile("|".join(f"({one})" for one in names))
    new = [*names.values()]

    def replaced(text: str) -> str:
        return pattern.sub(lambda found: new[(found.lastindex or 0) - 1], text)

    for path in listed_files():
        if not any(path.is_relative_to(ROOT / measured) for measured in MEASURED):
            edit(path, replaced)


def _remove_databases() -> Iterator[str]:
    """Remove the local databases, which have this project's name."""
    try:
        empty_services(ROOT / ".local")
        yield "removed: the local databases; make run makes new ones"
    except LocalError as error:
        yield f"the local databases have the old name: {error}; then make reset"


def _camel_case(name: str) -> str:
    return "".join(part.title() for part in name.split("-"))


def _remove_laboratory() -> Iterator[str]:
    folders = [f"tests/{name}" for name in sorted(LABORATORY - KEPT)]
    for folder in ("docs/adr", *folders):
        shutil.rmtree(ROOT / folder)
        yield f"removed: {folder}"
    modules = frozenset(folder.replace("/", ".") for folder in folders)
    paths = "|".join(folder.replace("/", "[./]") for folder in ("docs/adr", "adr/0", *folders))
    yield from remove_benchmarks()
    yield from prune(
        ROOT, Gone(modules, re.compile(rf"\b(?:{paths})|^adr$|\]\(adr\)", re.MULTILINE))
    )
    edit(ROOT / "tests" / "parallel.py", _with_laboratory)
    (ROOT / ".ci" / "run").write_text(CHECKS, encoding="utf-8")
    (ROOT / ".ci" / "container-images").unlink()


def _with_laboratory(text: str) -> str:
    kept = ", ".join(f'"{name}"' for name in sorted(KEPT))
    before, name, after = text.partition("\nLABORATORY = ")
    _, _, rest = after.partition("\n)\n")
    return f"{before}{name}frozenset({{{kept}}})\n{rest}"


if __name__ == "__main__":
    main()
