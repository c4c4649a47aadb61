"""What `layers/build.py` makes: packages for the target's machine, bytecode that stays valid."""

import importlib.util
import struct
from pathlib import Path
from types import ModuleType

import pytest

from tests.elf import machine_of
from tests.resources import FUNCTION_NAMES, RESOURCES
from tests.tools import require_bytecode_compiler, require_image

ROOT = Path(__file__).parents[2]
UNCHECKED_HASH = 0b01  # PEP 552: a hash-based pyc whose source is not looked at


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / "layers" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bytecode_compiler() -> None:
    require_bytecode_compiler()


@pytest.mark.slow
@pytest.mark.usefixtures("bytecode_compiler")
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_layer_is_for_the_architecture_whatever_builds_it(
    build: ModuleType, tmp_path: Path, architecture: str
) -> None:
    build.build(build.argument_parser().parse_args(["dependencies", architecture, str(tmp_path)]))
    libraries = list(tmp_path.rglob("*.so*"))
    assert len(libraries) > 10
    assert {machine_of(path.read_bytes()) for path in libraries} == {architecture}
    assert list(tmp_path.rglob("_psycopg.cpython-313-*")) or list(tmp_path.rglob("psycopg_binary"))


@pytest.mark.usefixtures("bytecode_compiler")
def test_bytecode_is_never_checked_against_its_source(build: ModuleType, tmp_path: Path) -> None:
    build.build(build.argument_parser().parse_args(["shared", str(tmp_path)]))
    sources = list(tmp_path.rglob("*.py"))
    assert {path.stem for path in sources} >= {"connection", "errors", "settings"}
    for source in sources:
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        flags = struct.unpack_from("<I", bytecode.read_bytes(), 4)[0]
        assert flags == UNCHECKED_HASH
        assert b"/opt/python/shared/" in bytecode.read_bytes()


def test_another_text_of_the_template_is_another_layer(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Lambda would reject versions that SAM publishes since their text in it changed."""
    monkeypatch.setattr(build, "compile_bytecode", lambda *_: None)
    for name in ("layers", "template.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setattr(build, "ROOT", tmp_path)

    def built(name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        build.build(build.argument_parser().parse_args(["shared", str(folder)]))
        paths = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    one, same = built("one"), built("same")
    (tmp_path / "template.yaml").unlink()
    (tmp_path / "template.yaml").write_text((ROOT / "template.yaml").read_text() + "# reworded\n")
    assert one == same != built("other")


@pytest.mark.usefixtures("bytecode_compiler")
def test_a_function_has_only_the_packages_of_its_group_that_the_layer_lacks(
    build: ModuleType, tmp_path: Path
) -> None:
    build.build(
        build.argument_parser().parse_args(["function", "migrations", "x86_64", str(tmp_path)])
    )
    packages = {path.name for path in tmp_path.iterdir() if "." not in path.name}
    assert packages == {"migrations", "alembic", "mako", "markupsafe"}


@pytest.mark.usefixtures("bytecode_compiler")
@pytest.mark.parametrize("resource", RESOURCES)
def test_a_resources_function_has_only_its_code(
    build: ModuleType, tmp_path: Path, resource: str
) -> None:
    build.build(build.argument_parser().parse_args(["function", resource, "x86_64", str(tmp_path)]))
    assert {path.name for path in tmp_path.iterdir()} == {resource}


def test_a_function_of_two_words_is_built_from_its_folder(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "functions" / "line_items").mkdir(parents=True)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.folder_of("lineitems") == "line_items"
    with pytest.raises(build.BuildError, match="one folder for items"):
        build.folder_of("items")


def test_without_a_python_and_without_docker_it_says_what_to_do(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "target_python", lambda: None)
    monkeypatch.setattr(build, "docker_responds", lambda: False)
    with pytest.raises(build.BuildError, match=r"uv python install 3\.13.*Docker"):
        build.compile_bytecode(tmp_path, "/opt")


@pytest.mark.docker
def test_without_a_python_the_lambda_image_makes_the_bytecode(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_image(build.LAMBDA_IMAGE)
    monkeypatch.setattr(build, "target_python", lambda: None)
    (tmp_path / "module.py").write_text("VALUE = 1\n", encoding="utf-8")
    build.compile_bytecode(tmp_path, "/opt")
    assert (tmp_path / "__pycache__" / "module.cpython-313.pyc").exists()


def test_packages_that_check_tokens_locally_are_not_deployed(build: ModuleType) -> None:
    deployed = set().union(*map(build.requirements_of, [None, *FUNCTION_NAMES]))
    names = {requirement.partition("==")[0] for requirement in deployed}
    assert "fastapi" in names
    assert names.isdisjoint({"cryptography", "joserfc"})
