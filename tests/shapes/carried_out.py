"""Pages that say how the code is changed, carried out in a copy of the repository.

A step is a sentence, "Append to `file`:" or "Insert into `file` before `line`:", and a block of
code. A diff has no line numbers: `--- file`, then lines that stay, go (-) and come
(+); a line `@@ beginning of a line` says after which line of the file they are. A file may be new.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

STEP = re.compile(
    r"(?:Append to|[Ii]nsert into) `(?P<path>[^`]+)`"
    r"(?: before `(?P<before>[^`]+)`)?:\n\n```\w+\n(?P<code>.*?)```",
    re.DOTALL,
)


def take_steps(page: str, folder: Path) -> None:
    """Do in the folder what the steps of the page say."""
    for step in STEP.finditer(page):
        _edit(folder / step["path"], step["before"], step["code"])


def _edit(file: Path, before: str | None, code: str) -> None:
    text = file.read_text(encoding="utf-8")
    if before is None:
        file.write_text(f"{text}\n\n{code}", encoding="utf-8")
        return
    assert text.count(f"\n{before}") == 1, f"{file} has not exactly one line with {before!r}"
    file.write_text(text.replace(f"\n{before}", f"\n{code}{before}"), encoding="utf-8")


def apply_diff(diff: str, folder: Path) -> None:
    """Change the files of the folder as the diff says; a file may be named by a pattern."""
    for change in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, _, parts = change.partition("\n")
        [file] = list(folder.glob(name)) or [folder / name]
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.touch()
        lines = file.read_text(encoding="utf-8").splitlines()
        position = 0
        for part in re.split(r"^(?=@@ )", parts, flags=re.MULTILINE):
            position = _apply_part(lines, position, part.splitlines(), name)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _apply_part(lines: list[str], position: int, part: Sequence[str], name: str) -> int:
    """Return the position after the part."""
    if part and part[0].startswith("@@ "):
        beginning = part[0].removeprefix("@@ ")
        starts = (at for at in range(position, len(lines)) if lines[at].startswith(beginning))
        position = _found(starts, name, beginning) + 1
        part = part[1:]
    old = [line[1:] for line in part if line[:1] != "+"]
    new = [line[1:] for line in part if line[:1] != "-"]
    places = (at for at in range(position, len(lines) + 1) if lines[at : at + len(old)] == old)
    position = _found(places, name, "\n".join(old))
    lines[position : position + len(old)] = new
    return position + len(new)


def _found(positions: Iterator[int], name: str, wanted: str) -> int:
    position = next(positions, None)
    assert position is not None, f"{name} does not have here:\n{wanted}"
    return position
