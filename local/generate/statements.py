"""Statements of a Python file: its imports, and top-level ones that can be dropped."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Module:
    """A Python file, its statements, and the dropped ones."""

    path: Path
    lines: list[str]
    nodes: list[ast.stmt]
    dropped: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Module":
        text = path.read_text(encoding="utf-8")
        return cls(path, text.splitlines(keepends=True), ast.parse(text).body)

    def drop(self, node: ast.stmt) -> None:
        """Drop a statement, and the text below it that describes it."""
        self.dropped.append(node)
        following = self.nodes[self.nodes.index(node) + 1 :][:1]
        if isinstance(node, ast.Assign | ast.AnnAssign) and following and _is_text(following[0]):
            self.dropped.append(following[0])

    def text(self) -> str:
        """Return the file without the dropped statements."""
        lines: list[str | None] = list(self.lines)
        for node in self.dropped:
            first, last = _first_line(node), node.end_lineno or node.lineno
            while first > 1 and self.lines[first - 2].startswith("#"):
                first -= 1
            lines[first - 1 : last] = [None] * (last - first + 1)
        return "".join(line for line in lines if line is not None)


def defined_by(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement defines, except imports."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (one.id for one in ast.walk(target) if isinstance(one, ast.Name))


def used_by(node: ast.stmt) -> set[str]:
    """Return the names that a statement uses."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def imported_by(path: Path) -> set[str]:
    """Return the names of modules that a file imports, and of what it imports from them."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    return imported


def _first_line(node: ast.stmt) -> int:
    """Return the number of a statement's first line, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
