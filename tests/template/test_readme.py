"""The README's commands and folder map are true."""

import re
from pathlib import Path

import httpx

from tests.faults.rows import markdown_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = "\n".join(text for language, text in BLOCKS if language == "sh")


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert {"run", "test", "lint"} <= named
    assert named <= targets


def test_every_path_of_the_folder_map_exists() -> None:
    folder_map = next(text for language, text in BLOCKS if not language)
    parent = ROOT
    for line in folder_map.splitlines():
        path = line.split()[0]
        parent = ROOT if not line.startswith(" ") else parent
        assert (parent / path).exists(), path
        if not line.startswith(" "):
            parent = ROOT / path


def test_every_file_that_a_command_reads_exists() -> None:
    files = re.findall(r"(?:--event|-f) (\S+)", COMMANDS)
    assert files
    for file in files:
        assert (ROOT / file).is_file(), file


def test_the_curl_examples_are_answered_with_success(api: httpx.Client) -> None:
    examples = re.findall(r"curl .*?(?=\n\n|\n(?=curl)|\Z)", COMMANDS, re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        answer = _curl(api, example)
        assert answer.is_success, f"{example}: {answer.text}"


def test_the_table_of_faults_is_the_tests_own() -> None:
    assert markdown_table().strip() in README


def _curl(api: httpx.Client, command: str) -> httpx.Response:
    target = re.search(r"http://127\.0\.0\.1:3000([^\s']*)", command)
    assert target is not None
    method = re.search(r"-X (\w+)", command)
    body = re.search(r"-d '([^']+)'", command)
    header = re.search(r"-H '([^:]+): ([^']+)'", command)
    return api.request(
        method[1] if method else "GET",
        target[1],
        content=body[1] if body else None,
        headers={header[1]: header[2]} if header else None,
    )
