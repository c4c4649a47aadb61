"""The table of faults and the tests that prove it name the same rows."""

import ast
from pathlib import Path

from tests.faults.rows import ROWS, markdown_table

HERE = Path(__file__).parent


def prefixes() -> set[str]:
    """What the tests pass to `rows`."""
    return {
        decorator.args[0].value
        for source in HERE.glob("test_*.py")
        for function in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Name)
        and decorator.func.id == "rows"
        and isinstance(decorator.args[0], ast.Constant)
        and isinstance(decorator.args[0].value, str)
    }


def test_every_row_has_its_test() -> None:
    unproved = [row.name for row in ROWS if not row.name.startswith(tuple(prefixes()))]
    assert not unproved


def test_a_row_belongs_to_one_group() -> None:
    for row in ROWS:
        assert len([prefix for prefix in prefixes() if row.name.startswith(prefix)]) == 1, row


def test_the_table_has_a_line_for_each_row() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == len(ROWS) + 2
    assert len({row.name for row in ROWS}) == len(ROWS)
