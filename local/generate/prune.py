"""Remove references to removed code: tests, pages and their parts, make targets.

A test module is dropped if it imports removed code. Of a page, sections, code blocks and rows of
tables are dropped, or the whole page. So the rest passes, and nothing is listed by hand.
"""

import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from local.generate.statements import imported_by

CODE = re.compile(r"(^```.*?^```\n)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
BRACKETS = re.compile(r"\s+\(\[([^\]]+)\]\(([^)]+)\)\)")
LISTED = re.compile(r"(, )?\[[^\]]+\]\(([^)]+)\)")
ANNOUNCEMENT = re.compile(r"[^\n]+(?:\n[^\n]+)*:\n+\Z")
"""The paragraph before a code block that ends with a colon."""


PARAGRAPH = re.compile(r"^(?![#|>\n]).+\n(?:(?![#|>\n]|- |\d+\. ).+\n)*", re.MULTILINE)
COMMENT = re.compile(r"(?:^|(?<=\s))# .*$", re.MULTILINE)
PAGE_WIDTH = 110
NOTE = "*This page shows an example that was removed from this repository, with its tests.*"


@dataclass(frozen=True)
class Gone:
    """Removed code: modules with their names, and a pattern of texts that refer to it.

    In the files `kept`, the pattern is found by chance.
    """

    modules: frozenset[str]
    named: re.Pattern[str]
    kept: frozenset[Path] = frozenset()

    def also(self, pattern: str) -> "Gone":
        """Return the same, with another pattern."""
        named = re.compile(f"{self.named.pattern}|{pattern}", re.MULTILINE)
        return replace(self, named=named)

    def has_module(self, module: str) -> bool:
        return any(module == gone or module.startswith(f"{gone}.") for gone in self.modules)


def prune(
    root: Path, gone: Gone, titles: Collection[str] = (), lessons: Collection[str] = ()
) -> Iterator[str]:
    """Drop tests, pages, sections with these titles, and make targets; yield tests and pages.

    A lesson, a page that teaches by what is gone, stays as it is, with a note.
    """
    for path in sorted({*root.glob("docs/*.md")} - gone.kept):
        page = _without_sections(path.read_text(encoding="utf-8"), gone, titles)
        if str(path.relative_to(root)) in lessons:
            if gone.named.search(page):
                edit(path, _with_note)
        elif _is_about(page, gone):
            path.unlink()
            yield f"removed: {path.relative_to(root)}"
            gone = gone.also(rf"\b{re.escape(path.name)}")
    for path in _prune_tests(root, gone):
        name = path.relative_to(root)
        yield f"removed: {name}"
        gone = gone.also(rf"\b{re.escape(str(name))}")
    _prune_texts(root, gone, titles)


def _prune_texts(root: Path, gone: Gone, titles: Collection[str]) -> None:
    """Prune the makefile, then pages, which may name its targets."""
    makefile = root / "Makefile"
    targets = _unneeded_targets(makefile.read_text(encoding="utf-8"), gone, root)
    edit(makefile, lambda text: _without_targets(text, targets))
    for target in targets:
        gone = gone.also(rf"\bmake {target}\b(?!-)")
    for path in [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("docs/llms.txt")]:
        if path.name != "CHANGELOG.md" and path not in gone.kept:
            edit(path, lambda text: _pruned(text, gone, titles))
    for path in (root / "CHANGELOG.md", *root.glob("docs/adr/*.md")):
        if path.exists():
            edit(path, lambda text: _without_commands(without_links(text, gone), targets))


def _with_note(page: str) -> str:
    return page if NOTE in page else page.replace("\n", f"\n\n{NOTE}\n", 1)


def _pruned(page: str, gone: Gone, titles: Collection[str]) -> str:
    return without_links(page, gone) if NOTE in page else prune_page(page, gone, titles)


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Change the text of a file; it is written only if it differs."""
    text = path.read_text(encoding="utf-8")
    if (changed := change(text)) != text:
        path.write_text(changed, encoding="utf-8")


def without_lines(text: str, pattern: re.Pattern[str]) -> str:
    return "".join(one for one in text.splitlines(keepends=True) if not pattern.search(one))


def _unneeded_targets(makefile: str, gone: Gone, root: Path) -> list[str]:
    """Return the targets that name removed code, or run missing modules."""
    found = []
    for target, recipe in re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE):
        modules = re.findall(r"-m ((?:tests|local|benchmarks)[.\w]*)", recipe)
        paths = [name.replace(".", "/") for name in modules] + re.findall(r"tests/\w+", recipe)
        if gone.named.search(recipe) or not all([*root.glob(f"{path}*")] for path in paths):
            found.append(target)
    return found


def _without_commands(history: str, targets: Iterable[str]) -> str:
    """Return a page of history in which the commands of these targets are plain text."""
    for target in targets:
        history = history.replace(f"`make {target}`", f"make {target}")
    return history


def _without_targets(makefile: str, targets: Iterable[str]) -> str:
    for target in targets:
        makefile = re.sub(rf"^{target}:.*\n(?:\t.*\n)+\n?", "", makefile, flags=re.MULTILINE)
        makefile = re.sub(rf"^(\.PHONY:.*) {target}\b(?!-)", r"\1", makefile, flags=re.MULTILINE)
    return makefile


def _prune_tests(root: Path, gone: Gone) -> Iterator[Path]:
    """Delete the test modules that import removed code, or a deleted module; yield their paths."""
    modules = {path: imported_by(path) for path in sorted(root.glob("tests/**/*.py"))}
    while found := [path for path in modules if any(map(gone.has_module, modules[path]))]:
        for path in found:
            del modules[path]
            path.unlink()
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            gone = replace(gone, modules=gone.modules | {name})
        yield from found


def prune_page(text: str, gone: Gone, titles: Collection[str]) -> str:
    """Return a page without the parts about removed code, and without links to it."""
    kept = [""]
    is_response = False  # of a request that was dropped
    for part in CODE.split(_without_sections(text, gone, titles)):
        if not part.startswith("```"):
            kept.append(_pruned_prose(part, gone))
            is_response = is_response and not part.strip()
        elif is_response and part.startswith("```http"):
            continue
        elif code := _pruned_code(part, gone):
            kept.append(code)
        else:
            kept[-1] = ANNOUNCEMENT.sub("", kept[-1])
            is_response = True
    return _without_empty_sections(re.sub(r"\n{3,}", "\n\n", "".join(kept)).lstrip("\n"))


def _without_empty_sections(page: str) -> str:
    for level in (4, 3, 2):
        empty = rf"^#{{{level}}} .*\n\n*(?=#{{1,{level}}} |\Z)"
        page = re.sub(empty, "", page, flags=re.MULTILINE)
    return page


def _pruned_prose(text: str, gone: Gone) -> str:
    """Return text without rows, items and sentences that name removed code."""
    lines = (_without_listed(line, gone) for line in text.splitlines(keepends=True))
    text = "".join(line for line in lines if not _is_item(line, gone))
    text = PARAGRAPH.sub(lambda found: _pruned_paragraph(found[0], gone), text)
    return without_links(text, gone)


def _is_about_it(sentence: str, gone: Gone) -> bool:
    """Whether a sentence names removed code, or begins with a link to it."""
    pointer = re.match(r"(?:- |\d+\. )?\[[^\]]+\]\(([^)]+)\)", sentence)
    named = pointer[1] if pointer else LINK.sub(lambda link: link[1], sentence)
    return gone.named.search(named) is not None


def _pruned_paragraph(paragraph: str, gone: Gone) -> str:
    if not gone.named.search(paragraph):
        return paragraph
    paragraph = BRACKETS.sub(lambda link: "" if gone.named.search(link[2]) else link[0], paragraph)
    mark = re.match(r"(?:- |\d+\. )?", paragraph)
    sentences = re.split(r"(?<=[.:;])\s+(?=[A-Z`*\[])", paragraph.strip())
    left = " ".join(" ".join(one.split()) for one in sentences if not _is_about_it(one, gone))
    indent = " " * len(mark[0]) if mark else ""
    lines = textwrap.wrap(
        left, PAGE_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "".join(f"{line}\n" for line in lines)


def _without_listed(line: str, gone: Gone) -> str:
    """Return a row of a table without links to removed pages, if it has others."""
    if not line.startswith("|"):
        return line
    left = LISTED.sub(lambda link: "" if gone.named.search(link[2]) else link[0], line)
    return left.replace("| , ", "| ") if LINK.search(left) else line


def _is_item(line: str, gone: Gone) -> bool:
    """Whether a line is a row of a table that names removed code, or an item that links to it."""
    links = re.match(r"- \[[^\]]+\]\(([^)]+)\)", line)
    named = links[1] if links else line if line.startswith("|") else ""
    return gone.named.search(named) is not None


def _pruned_code(block: str, gone: Gone) -> str:
    """Return a block without commands that name removed code; other code that does is dropped."""
    if not gone.named.search(block):
        return block
    if not re.match(r"```(sh)?\n", block):
        return ""
    first, *lines, last = re.findall(r"(?:.*\\\n)*.*\n", block)  # with the lines that continue them
    left = [line for line in lines if not gone.named.search(line)]
    code = "".join(left).lstrip("\n")
    return f"{first}{code}{last}" if code.strip() else ""


def without_links(text: str, gone: Gone) -> str:
    """Return text in which links to removed pages are plain text."""
    return LINK.sub(lambda link: link[1] if gone.named.search(link[2]) else link[0], text)


def _without_sections(text: str, gone: Gone, titles: Collection[str]) -> str:
    """Return a page without sections whose title is one of these, or names removed code."""
    kept: list[str] = []
    dropped_level = 0
    for part in CODE.split(text):
        for line in [part] if part.startswith("```") else part.splitlines(keepends=True):
            heading = re.match(r"(#+) +(.*)\n", line)
            if heading and (not dropped_level or len(heading[1]) <= dropped_level):
                is_gone = heading[2] in titles or gone.named.search(heading[2])
                dropped_level = len(heading[1]) if is_gone else 0
            if not dropped_level:
                kept.append(line)
    return "".join(kept)


def _is_about(page: str, gone: Gone) -> bool:
    """Whether most of a page's code names removed code, or a step of a recipe, or three files."""
    code = [part for part in CODE.split(page) if part.startswith("```")]
    naming = [part for part in code if gone.named.search(part)]
    files = [name for name in re.findall(r"`(functions/\S+\.py)`", page) if gone.named.search(name)]
    is_recipe = re.search(r"^(?:Append|Insert)\b.* `", page, re.MULTILINE) is not None
    return 2 * len(naming) > len(code) or len(files) > 2 or (is_recipe and len(naming) > 0)
