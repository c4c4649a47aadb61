"""The edits of template.yaml that docs/settings.md describes, made in a copy.

`EDITS` are the rows of the page's table: the first line that reads as the one text gets the other.
"""

import re
from pathlib import Path

from tests.resources import ROOT
from tests.template.stacks import TEMPLATE

SECTION = (
    (ROOT / "docs" / "settings.md")
    .read_text(encoding="utf-8")
    .partition("## Edits of the template\n")[2]
    .partition("\n## ")[0]
)
EDITS: dict[str, str] = dict(re.findall(r"^\| `(.+?)` \| `(.+?)` \|", SECTION, re.MULTILINE))
PUBLIC = set(re.findall(r"SERVICE: (\w+), PUBLIC_READS", SECTION))
"""The resources of which the page makes reads public."""
PUBLIC_READS = re.findall(r"```diff\n(.*?)```", SECTION, re.DOTALL)


def edited(directory: Path, *lines: str, public_reads: bool = False) -> Path:
    """Write the template with the edits of these lines to a directory; return its path.

    The code is beside it, so that it can be run. With `public_reads` also with that edit.
    """
    text = TEMPLATE.read_text(encoding="utf-8")
    for line in lines:
        text = _replaced(text, f" {line}\n", f" {EDITS[line]}\n")
    for diff in PUBLIC_READS if public_reads else ():
        kept = [line for line in diff.splitlines(keepends=True) if line[0] != "+"]
        after = [line for line in diff.splitlines(keepends=True) if line[0] != "-"]
        text = _replaced(text, *("".join(line[1:] for line in one) for one in (kept, after)))
    path = directory / "template.yaml"
    path.write_text(text, encoding="utf-8")
    for name in ("functions", "layers", "infrastructure"):
        if not (directory / name).exists():
            (directory / name).symlink_to(ROOT / name)
    return path


def _replaced(text: str, before: str, after: str) -> str:
    assert before in text, before
    return text.replace(before, after, 1)
