"""`make install` and `make run` need nothing that a Mac lacks, as far as Linux can show it."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
EXPORT = ("export", "--frozen", "--all-groups", "--no-hashes", "--no-header", "--no-annotate")
MACOS = (14, 0)
# A little C, for which macOS has its compiler where it has make.
COMPILED_FOR_INTEL = {"lazy-object-proxy"}
COMPILED_FOR_NEWEST = {"watchdog"}  # which SAM CLI pins


def tags_of(machine: str, python: tuple[int, int]) -> set[Tag]:
    platforms = list(mac_platforms(MACOS, machine))
    return {*cpython_tags(python, platforms=platforms), *compatible_tags(python, None, platforms)}


def needed(machine: str, python: str) -> Iterator[Requirement]:
    """The packages that uv installs there, each with its version."""
    environment = {
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    exported = subprocess.run([UV, *EXPORT], cwd=ROOT, capture_output=True, text=True, check=True)
    for requirement in map(Requirement, exported.stdout.splitlines()):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement


@pytest.mark.parametrize("minor", range(11, 15))
@pytest.mark.parametrize("machine", ["arm64", "x86_64"])
def test_the_lock_file_has_the_wheels_of_a_mac(machine: str, minor: int) -> None:
    tags = tags_of(machine, (3, minor))
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    wheels = {
        f"{package['name']}=={package.get('version')}": [
            parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
            for wheel in package.get("wheels", [])
        ]
        for package in locked
    }
    compiled = {
        requirement.name
        for requirement in needed(machine, f"3.{minor}")
        if not any(tags & tagged for tagged in wheels[f"{requirement.name}{requirement.specifier}"])
    }
    expected = COMPILED_FOR_INTEL if machine == "x86_64" else set()
    assert compiled == expected | (COMPILED_FOR_NEWEST if minor == 14 else set())
