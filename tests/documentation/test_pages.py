"""The commands, paths, links and tables of the README and of docs/ are correct."""

import re
from pathlib import Path

import botocore.session
import httpx
import pytest
from botocore import xform_name

from tests.documentation.curl import blocks, send

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = "\n".join(
    # A decision may name what was removed.
    page.read_text(encoding="utf-8")
    for page in PAGES
    if page.parent.name != "adr"
)


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    code = "\n".join([*blocks(DOCUMENTS, "sh"), *re.findall(r"`([^`\n]+)`", DOCUMENTS)])
    named = set(re.findall(r"(?:^|\s)make ([a-z-]+)", code, re.MULTILINE))
    assert {"run", "test", "lint"} <= named
    assert named <= targets


def test_every_path_of_the_folder_map_exists() -> None:
    (folder_map,) = blocks(README, "")
    parent = ROOT
    for line in folder_map.splitlines():
        path = line.split()[0]
        parent = ROOT if not line.startswith(" ") else parent
        assert (parent / path).exists(), path
        if not line.startswith(" "):
            parent = ROOT / path


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_section_of_it(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    for target, anchor in links:
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def test_every_file_that_a_command_reads_exists() -> None:
    files = re.findall(r"(?:--event|-f) (\S+)", "\n".join(blocks(DOCUMENTS, "sh")))
    assert files
    for file in files:
        assert (ROOT / file).is_file(), file


def test_every_command_of_the_aws_cli_is_an_operation_with_these_options() -> None:
    own = {("cloudformation", "deploy"), ("rds", "generate-db-auth-token")}
    text = DOCUMENTS.replace("\\\n", " ")
    found = re.findall(r"\baws ([a-z0-9-]+) ([a-z0-9-]+)\b([^`\n]*)", text)
    session = botocore.session.get_session()
    checked = 0
    for service, command, arguments in found:
        if (service, command) in own or service not in session.get_available_services():
            continue
        model = session.get_service_model(service)
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        shape = model.operation_model(operations[command]).input_shape
        options = {xform_name(name, "-") for name in (shape.members if shape else ())}
        given = set(re.findall(r"\s--(?:no-)?([a-z0-9-]+)", arguments.partition("#")[0]))
        assert given - {"query", "output"} <= options, f"aws {service} {command}{arguments}"
        checked += 1
    assert checked > 10


def test_the_curl_examples_succeed(api: httpx.Client) -> None:
    development = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    commands = "\n".join(blocks(README, "sh") + blocks(development, "sh"))
    examples = re.findall(r"curl .*?(?=\n\n|\n(?=curl)|\Z)", commands, re.DOTALL)
    assert examples
    for example in examples:
        response = send(api, example)
        assert response.is_success, f"{example}: {response.text}"
