"""AGENTS.md, docs/llms.txt, the devcontainer and VS Code's settings name what exists."""

import json
import re
import tomllib

from tests.resources import ROOT

AGENTS = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
LLMS = ROOT / "docs" / "llms.txt"


def test_every_path_in_agents_md_exists() -> None:
    named = re.findall(r"`([^`\n ]+/[^`\n ]+|[\w.-]+\.\w+)`", AGENTS)
    files = {path.name for folder in ("functions", "local") for path in (ROOT / folder).rglob("*")}
    assert len(named) > 10
    for name in named:
        assert list(ROOT.glob(name)) or name in files, name


def test_every_page_is_in_the_index_for_language_models() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", LLMS.read_text(encoding="utf-8"))
    for target in linked:
        assert (LLMS.parent / target).exists(), target
    pages = {page.name for page in LLMS.parent.glob("*.md")}
    assert pages <= set(linked)


def test_editors_find_the_packages_where_the_tests_do() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    paths = [path for path in project["pytest"]["ini_options"]["pythonpath"] if path != "."]
    assert settings["python.analysis.extraPaths"] == paths
    assert project["pyright"]["extraPaths"] == paths
    assert project["mypy"]["mypy_path"] == paths


def test_the_devcontainer_has_lambdas_python_and_the_port_of_make_run() -> None:
    container = json.loads(
        (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    )
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    runtime = re.search(r"Runtime: python([\d.]+)", template)
    assert runtime is not None
    assert f"/python:{runtime[1]}-" in container["image"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"export PORT ?= {container['forwardPorts'][0]}\n" in makefile
    assert container["postCreateCommand"] == "make install"
