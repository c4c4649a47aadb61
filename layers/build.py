"""The build of each layer and function, run by `sam build` through the layers' Makefiles.

    python layers/build.py dependencies arm64 DIRECTORY
    python layers/build.py shared DIRECTORY
    python layers/build.py function meta arm64 DIRECTORY

Third-party packages are cross-built: binary wheels for the target's architecture and Python, pinned
by uv.lock, hashes checked. A function contains the packages of its own dependency group (of the
same name, if there is one) that the layer does not contain.

All code is compiled to bytecode of Lambda's Python with unchecked hashes: SAM's zips have no dates,
so ordinary bytecode would be discarded on every cold start. It has no docstrings and asserts, which
makes it a third smaller.
"""

import argparse
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN_UV = ROOT / ".tools" / "uv" / "bin" / "uv"
PYTHON_VERSION = "3.13"
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
HOST = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
LAMBDA_IMAGE = f"public.ecr.aws/lambda/python:{PYTHON_VERSION}-{HOST}"
# email-validator imports it only to check deliverability, which the schemas do not.
EXCLUDED_PACKAGES = ("dnspython",)
# Not needed at run time: stubs, tests, sources of extensions, entry points, pip's metadata, other
# databases, pydantic's version 1 (FastAPI imports it if present, in 20 ms), and Powertools except
# its logger and metrics.
EXCLUDED_FILES = (
    "**/*.pyi",
    "**/py.typed",
    "**/tests",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.[ch]",
    "**/*.[ch]pp",
    "bin",
    "include",
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/[!_j]*",  # its logger needs jmespath_utils
    "pydantic/v1",
    "sqlalchemy/testing",
    "sqlalchemy/dialects/mssql",
    "sqlalchemy/dialects/mysql",
    "sqlalchemy/dialects/oracle",
    "sqlalchemy/dialects/sqlite",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/licenses",
    "*.dist-info/sboms",
)
RESPONSE_SECONDS = 20.0
VERSION_MANAGERS = (
    "~/.pyenv/versions",
    "~/.local/share/mise/installs/python",
    "~/.asdf/installs/python",
)


class BuildError(Exception):
    """The build failed; the message has the remedy."""


def main() -> None:
    arguments = argument_parser().parse_args()
    try:
        build(arguments)
    except BuildError as error:
        sys.exit(f"build: {error}")


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build a layer or a function for Lambda.")
    artifacts = parser.add_subparsers(dest="artifact", required=True)
    dependencies = artifacts.add_parser("dependencies")
    dependencies.add_argument("architecture", choices=PLATFORMS)
    shared = artifacts.add_parser("shared")
    function = artifacts.add_parser("function")
    function.add_argument("name")
    function.add_argument("architecture", choices=PLATFORMS)
    for artifact in (dependencies, shared, function):
        artifact.add_argument("directory", type=Path)
    return parser


def build(arguments: argparse.Namespace) -> None:
    directory: Path = arguments.directory.resolve()
    if arguments.artifact == "dependencies":
        install(requirements_of(), arguments.architecture, directory / "python")
        compile_bytecode(directory, "/opt")
    elif arguments.artifact == "shared":
        _copy_code(ROOT / "layers" / "shared" / "shared", directory / "python" / "shared")
        compile_bytecode(directory, "/opt")
        _add_release(directory)
    else:
        name = folder_of(arguments.name)
        own = requirements_of(name) - requirements_of()
        install(own, arguments.architecture, directory)
        _copy_code(ROOT / "functions" / name, directory / name)
        compile_bytecode(directory, "/var/task")
    _report_size(arguments, directory)


def folder_of(function: str) -> str:
    """Return the name of a function's folder: `line_items` for `lineitems`."""
    names = [path.name for path in (ROOT / "functions").iterdir()]
    found = [name for name in names if name.replace("_", "") == function.replace("_", "")]
    if len(found) != 1:
        raise BuildError(f"functions/ must have one folder for {function}, but has {found}")
    return found[0]


def requirements_of(group: str | None = None) -> set[str]:
    """Return pinned requirements with hashes: the project's, or those of a dependency group.

    A group that pyproject.toml does not define is empty.
    """
    choice = ["--no-default-groups"]
    if group is not None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        if group not in project["dependency-groups"]:
            return set()
        choice = ["--only-group", group]
    for package in EXCLUDED_PACKAGES:
        choice += ["--no-emit-package", package]
    command = [uv(), "export", "--frozen", "--no-header", "--no-annotate", "--no-emit-project"]
    exported = _run([*command, *choice], cwd=ROOT)
    return set(_logical_lines(exported))


def _logical_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            yield " ".join(line.split())


def install(requirements: set[str], architecture: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not requirements:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(sorted(requirements)))
        file.flush()
        _run(
            [
                *(uv(), "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
                *("--only-binary", ":all:", "--no-compile-bytecode", "--target", str(directory)),
                *("--python-version", PYTHON_VERSION),
                *("--python-platform", PLATFORMS[architecture]),
                *("--requirements", file.name),
            ],
            cwd=ROOT,
        )
    for pattern in EXCLUDED_FILES:
        for path in list(directory.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copy_code(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _add_release(directory: Path) -> None:
    """Add a hash of the template, so that any change of its text is a change of the layer.

    SAM publishes a version of a function whose text in the template changed, which Lambda rejects
    if code, layers and configuration are the same, as after a rewording.
    """
    digest = hashlib.sha256((ROOT / "template.yaml").read_bytes()).hexdigest()
    (directory / "template.sha256").write_text(f"{digest}\n", encoding="utf-8")


def compile_bytecode(directory: Path, path_in_lambda: str) -> None:
    """Compile to bytecode, with a Python of Lambda's version or in Lambda's image."""
    python = target_python()
    options = ["-q", "-o", "2", "--invalidation-mode", "unchecked-hash", "-p", path_in_lambda, "-s"]
    if python is not None:
        _run([python, "-m", "compileall", *options, str(directory), str(directory)])
    else:
        _compile_in_container(directory, options)
    # Python reads `.opt-2` files only with -OO, which would ignore the bytecode of Lambda's own
    # modules, so they get the ordinary name.
    for bytecode in directory.rglob("*.opt-2.pyc"):
        bytecode.rename(bytecode.with_name(bytecode.name.replace(".opt-2", "")))


def _compile_in_container(directory: Path, options: list[str]) -> None:
    if not docker_responds():
        raise BuildError(
            f"Python {PYTHON_VERSION} is needed to compile its bytecode: "
            f"`uv python install {PYTHON_VERSION}`, or start Docker for Lambda's image."
        )
    _run(
        [
            *("docker", "run", "--rm", "--volume", f"{directory}:/artifacts"),
            *("--user", f"{os.getuid()}:{os.getgid()}", "--entrypoint", "python3", LAMBDA_IMAGE),
            *("-m", "compileall", *options, "/artifacts", "/artifacts"),
        ]
    )


def docker_responds() -> bool:
    """Return whether a Docker engine responds; the command may exist without one."""
    return _succeeds(["docker", "info"])


def target_python() -> str | None:
    """Return a Python of Lambda's version: uv's, one on the PATH, or a version manager's."""
    found = subprocess.run(
        [uv(), "python", "find", "--no-project", "--no-python-downloads", PYTHON_VERSION],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 0:
        return found.stdout.strip()
    for manager in VERSION_MANAGERS:
        for python in Path(manager).expanduser().glob(f"{PYTHON_VERSION}*/bin/python3"):
            if _succeeds([str(python), "--version"]):
                return str(python)
    return None


def uv() -> str:
    """Return the uv that `make install` installed, or the one on the PATH."""
    found = str(OWN_UV) if OWN_UV.exists() else shutil.which("uv")
    if found is None:
        raise BuildError("uv is needed: run `make install` once.")
    return found


def _succeeds(command: list[str]) -> bool:
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=RESPONSE_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _run(command: list[str], cwd: Path | None = None) -> str:
    # Trust the machine's own certificates (uv's new and old name); some networks need them.
    environment = os.environ | {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr or done.stdout}")
    return done.stdout


def _report_size(arguments: argparse.Namespace, directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    unzipped_bytes = sum(path.stat().st_size for path in files)
    name = getattr(arguments, "name", arguments.artifact)
    sizes = f"{_zipped_bytes(files) / 1e6:.2f} MB zipped, {unzipped_bytes / 1e6:.2f} MB unzipped"
    print(f"build: {name} is {sizes}", file=sys.stderr)


def _zipped_bytes(files: list[Path]) -> int:
    """Return the size of a zip of the files, created in memory."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path)
    return archive.tell()


if __name__ == "__main__":
    main()
