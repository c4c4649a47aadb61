"""Values typed after a target reach its program: neither make nor the shell expands them. The
targets of `sam build` give a function's name in small letters."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.resources import ROOT

TYPED = """ä "quoted" 'single' $5 $(touch made) `touch made` ${HOME} * ; # \\ % x"""
PROGRAM = """#!/usr/bin/env python3
import json, os, sys
variables = {name: os.environ.get(name) for name in ("STAGE", "BASE_URL")}
print(json.dumps({"arguments": sys.argv[1:], "variables": variables}))
"""

RECIPES = re.findall(
    r"^([a-z-]+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
)
ARGUMENTS = [
    (target, name) for target, recipe in RECIPES for name in re.findall(r'"\$\$\{?(\w+)', recipe)
]


def received(folder: Path, target: str, **typed: str) -> tuple[list[str], dict[str, str | None]]:
    """The arguments of the target's program, and some of its environment."""
    for name in ("python", "pytest"):
        (folder / name).write_text(PROGRAM, encoding="utf-8")
        (folder / name).chmod(0o755)
    make = ["make", "-s", "-o", ".venv/.ready", f"BIN={folder}", target]
    variables = [f"{name}={value}" for name, value in typed.items()]
    done = subprocess.run(
        [*make, *variables], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    )
    given = json.loads(done.stdout)
    assert not (ROOT / "made").exists()
    return given["arguments"], given["variables"]


@pytest.mark.parametrize(("target", "name"), ARGUMENTS)
def test_an_argument_is_what_was_typed(tmp_path: Path, target: str, name: str) -> None:
    arguments, _ = received(tmp_path, target, **{name: TYPED})
    assert TYPED in arguments


@pytest.mark.parametrize("name", ["STAGE", "BASE_URL"])
def test_a_variable_is_what_was_typed(tmp_path: Path, name: str) -> None:
    assert received(tmp_path, "smoke", **{name: TYPED})[1][name] == TYPED


def test_variables_that_are_not_set_are_not_passed(tmp_path: Path) -> None:
    assert received(tmp_path, "token")[0] == ["-m", "local", "token"]
    assert received(tmp_path, "resource", NAME="tickets")[0][-2:] == ["--owners", ""]
    assert received(tmp_path, "test", ARGS="tests/layer -k 'a or b'")[0] == [
        *("tests/layer", "-k", "a or b")
    ]


def test_a_function_of_two_words_is_built_by_its_name_in_small_letters() -> None:
    makefile = ROOT / "layers" / "dependencies" / "x86_64" / "Makefile"
    command = ["make", "-n", "-f", str(makefile), "build-LineItemsFunction", "ARTIFACTS_DIR=out"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ' function lineitems x86_64 "out"' in done.stdout
