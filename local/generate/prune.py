"""Remove references to removed code: tests, pages and their parts, make targets.

A test is dropped if it names removed code, or needs a fixture, a helper or an import that is
dropped; then helpers that no test needs any more. Of a page, sections, code blocks and rows of
tables are dropped, or the whole page. So the rest passes, and nothing is listed by hand.
"""

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
ALL_OF_IT = ": all of it"


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


@dataclass
class Module:
    """A Python file, its statements, the dropped ones, and the names that are gone."""

    path: Path
    name: str
    lines: list[str]
    nodes: list[ast.stmt]
    gone: set[str] = field(default_factory=set)
    dropped: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, root: Path) -> "Module":
        text = path.read_text(encoding="utf-8")
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        return cls(path, name, text.splitlines(keepends=True), ast.parse(text).body)

    def text_of(self, node: ast.stmt) -> str:
        return "".join(self.lines[first_line(node) - 1 : node.end_lineno])

    def code_of(self, node: ast.stmt) -> str:
        """Return the text of a statement without docstrings and comments."""
        lines = list(self.lines)
        for one in ast.walk(node):
            if isinstance(one, ast.Expr) and _is_text(one) and one.end_lineno:
                lines[one.lineno - 1 : one.end_lineno] = [""] * (one.end_lineno - one.lineno + 1)
        code = "".join(lines[first_line(node) - 1 : node.end_lineno])
        return COMMENT.sub("", code)

    def left(self) -> list[ast.stmt]:
        return [node for node in self.nodes if node not in self.dropped and not _is_text(node)]

    def drop(self, node: ast.stmt) -> None:
        """Drop a statement, and the text below it that describes it."""
        self.dropped.append(node)
        self.gone |= set(defined_by(node))
        if isinstance(node, ast.ImportFrom):
            self.gone |= {alias.asname or alias.name for alias in node.names}
        following = self.nodes[self.nodes.index(node) + 1 :][:1]
        if isinstance(node, ast.Assign | ast.AnnAssign) and following and _is_text(following[0]):
            self.dropped.append(following[0])

    def text(self) -> str:
        """Return the file without the dropped statements."""
        lines: list[str | None] = list(self.lines)
        for node in self.dropped:
            first, last = first_line(node), node.end_lineno or node.lineno
            while first > 1 and self.lines[first - 2].startswith("#"):
                first -= 1
            lines[first - 1 : last] = [None] * (last - first + 1)
        return "".join(line for line in lines if line is not None)


def first_line(node: ast.stmt) -> int:
    """Return the number of a statement's first line, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def defined_by(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement defines, except imports."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (one.id for one in ast.walk(target) if isinstance(one, ast.Name))


def used_by(node: ast.stmt) -> set[str]:
    """Return the names that a statement uses, including parameters, which are fixtures."""
    used: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            used.add(one.id)
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            used.add(f"{one.value.id}.{one.attr}")
        elif isinstance(one, ast.arg):
            used.add(one.arg)
        elif isinstance(one, ast.Call) and _is_use_of_fixtures(one.func):
            used |= {str(name.value) for name in one.args if isinstance(name, ast.Constant)}
    return used


def _is_use_of_fixtures(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "usefixtures"


def is_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def prune(
    root: Path, gone: Gone, titles: Collection[str] = (), lessons: Collection[str] = ()
) -> Iterator[str]:
    """Drop tests, pages, sections with these titles, and make targets; yield tests and pages.

    A lesson, a page that teaches by what is gone, stays as it is, with a note, but not its tests.
    """
    for path in sorted(root.glob("tests/**/*.*")):
        is_text = path.suffix in (".diff", ".toml", ".ts") and path not in gone.kept
        if is_text and gone.named.search(path.read_text(encoding="utf-8")):
            path.unlink()
            yield f"removed: {path.relative_to(root)}"
            gone = gone.also(re.escape(path.name))
    tested = gone
    for path in sorted({*root.glob("docs/*.md")} - gone.kept):
        page = _without_sections(path.read_text(encoding="utf-8"), gone, titles)
        named = rf"\b{re.escape(path.name)}"
        if str(path.relative_to(root)) in lessons:
            if gone.named.search(page):
                edit(path, _with_note)
                tested = tested.also(named)
        elif _is_about(page, gone):
            path.unlink()
            yield f"removed: {path.relative_to(root)}"
            gone, tested = gone.also(named), tested.also(named)
    for line in prune_tests(root, tested):
        yield f"removed: {line}"
        if line.endswith(ALL_OF_IT):
            gone = gone.also(rf"\b{re.escape(line.removesuffix(ALL_OF_IT))}")
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


def prune_tests(root: Path, gone: Gone) -> list[str]:
    """Drop the tests and helpers that need removed code; return a line for each."""
    modules = [Module.read(path, root) for path in sorted(root.glob("tests/**/*.py"))]
    before = _words(modules)
    while sum(_drop_dependents(module, modules, gone) for module in modules):
        pass
    while (now := _words(modules)) and sum(_drop_unused(one, before, now) for one in modules):
        pass
    return [line for module in modules for line in _write(module, modules, root)]


def _drop_dependents(module: Module, modules: Iterable[Module], gone: Gone) -> bool:
    """Drop statements that name or need removed code; return whether there were any."""
    by_name = {one.name: one for one in modules}
    known = module.gone | set(_gone_imports(module, by_name, gone))
    for fixtures in modules:
        if fixtures.path.name == "conftest.py" and fixtures.path.parent in module.path.parents:
            known |= fixtures.gone
    known |= set(_gone_attributes(module, by_name))
    dropped = [
        node
        for node in module.left()
        if _names(node, module, gone)
        or (not isinstance(node, ast.Import | ast.ImportFrom) and used_by(node) & known)
    ]
    for node in dropped:
        module.drop(node)
    is_changed = bool(dropped) or not known <= module.gone
    module.gone |= known
    return is_changed


def _gone_imports(module: Module, modules: Mapping[str, Module], gone: Gone) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom):
            source = modules.get(str(node.module))
            for alias in node.names:
                is_gone = gone.has_module(f"{node.module}.{alias.name}")
                if is_gone or (source is not None and alias.name in source.gone):
                    yield alias.asname or alias.name


def _gone_attributes(module: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the dropped names of modules that are imported themselves, such as `targets.url`."""
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (source := modules.get(f"{node.module}.{alias.name}")) is not None:
                    names = {name for one in source.dropped for name in defined_by(one)}
                    yield from (f"{alias.asname or alias.name}.{name}" for name in names)


def _names(node: ast.stmt, module: Module, gone: Gone) -> bool:
    """Whether the statement imports a removed module, or refers to removed code."""
    for one in ast.walk(node):
        if isinstance(one, ast.ImportFrom) and gone.has_module(str(one.module)):
            return True
        if isinstance(one, ast.Import) and any(gone.has_module(alias.name) for alias in one.names):
            return True
    if isinstance(node, ast.Import | ast.ImportFrom) or module.path in gone.kept:
        return False
    return gone.named.search(module.code_of(node)) is not None


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _words(modules: Iterable[Module]) -> Counter[str]:
    return Counter(word for module in modules for word in re.findall(r"\w+", module.text()))


def _drop_unused(module: Module, before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Drop definitions that were used before, but are not any more."""
    unused = [
        node
        for node in module.left()
        if not is_test(node)
        and (names := list(defined_by(node)))
        and all(before[name] > now[name] == _own_uses(module, node, name) for name in names)
    ]
    for node in unused:
        module.drop(node)
    return bool(unused)


def _own_uses(module: Module, node: ast.stmt, name: str) -> int:
    return len(re.findall(rf"\b{name}\b", module.text_of(node)))


def _write(module: Module, modules: Sequence[Module], root: Path) -> Iterator[str]:
    """Write the rest of a module, or delete it if nothing is left; yield the dropped tests."""
    if not module.dropped:
        return
    path = module.path.relative_to(root)
    left = {name for node in module.left() for name in defined_by(node)} - {"pytestmark"}
    has_tests = any(is_test(node) for node in module.left())
    is_used = any(left & set(_imports(other, module.name)) for other in modules)
    had_tests = any(is_test(node) for node in module.nodes)
    is_program = any(isinstance(node, ast.If) for node in module.dropped)
    if not left or is_program or (had_tests and not has_tests and not is_used):
        module.path.unlink()
        yield f"{path}{ALL_OF_IT}"
        return
    module.path.write_text(module.text(), encoding="utf-8")
    tests = [name for node in module.dropped if is_test(node) for name in defined_by(node)]
    yield from (f"{path}: {name}" for name in tests)


def _imports(module: Module, name: str) -> Iterator[str]:
    """Yield the names that a module imports from another."""
    for node in module.left():
        if isinstance(node, ast.ImportFrom) and node.module == name:
            yield from (alias.name for alias in node.names)


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
