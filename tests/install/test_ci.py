"""GitHub's workflows: every action by its commit, on all supported versions of Python."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.is_file())
CHECKS = ["install", "lint", "scan", "test-all", "rehearse"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_every_action_is_pinned_by_its_commit_and_names_its_version() -> None:
    used = [
        line.partition("uses:")[2].strip()
        for path in WORKFLOWS
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line and "uses: ./" not in line
    ]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_oldest_and_the_newest_promised_python_are_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = project["project"]["requires-python"].removeprefix(">=")
    installer = (ROOT / "local" / "install.sh").read_text(encoding="utf-8")
    promised = re.search(r"\((\d), (\d+)\) <= .* <= \((\d), (\d+)\)", installer)
    assert promised is not None
    assert f"{promised[1]}.{promised[2]}" == oldest
    assert _checks()["strategy"]["matrix"]["python"] == [oldest, f"{promised[3]}.{promised[4]}"]


def test_the_readmes_commands_are_what_is_run() -> None:
    assert _checks()["steps"][-1] == {"run": ".ci/run"}
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    made = re.findall(r"^(?:tests\(\) \{ )?make ([\w-]+)", script, re.MULTILINE)
    assert made == CHECKS


def test_a_mac_runs_the_commands_of_the_readme() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/macos.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["macos"]
    assert job["runs-on"] == "macos-latest"
    assert job["steps"][-1] == {"run": "make test"}


def test_the_scripts_name_nothing_outside_of_the_checkout() -> None:
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8").replace('cd "$(dirname "$0")/.."', "")
        assert "../" not in text, path
        for name in re.findall(r"(?<![\w/])\.ci/[\w-]+", text):
            assert (ROOT / name).exists(), f"{path}: {name}"


class CiMachine:
    """A machine on which `.ci/run` finds fake commands, which note their calls."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "calls"
        self.log.touch()
        self.programs = directory / "programs"
        self.programs.mkdir()
        for name in ("bash", "cat", "cut", "dirname", "env", "mktemp", "rm", "sha256sum"):
            (self.programs / name).symlink_to(str(shutil.which(name)))
        for name in ("chromium", "redis-server", "npm", "make"):
            self.provide(name)
        self.provide("pgbouncer")
        self.provide("docker", "exit 1")
        self.provide("id", "echo 1000")  # not root: it can start no engine
        self.provide("timeout", 'shift; exec "$@"')
        self.provide("chrt", 'shift 2; exec "$@"')

    def provide(self, name: str, script: str = "") -> None:
        program = self.programs / name
        program.write_text(f'#!{shutil.which("sh")}\necho {name} "$@" >>{self.log}\n{script}\n')
        program.chmod(0o755)

    def run(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(ROOT / ".ci" / "run")],
            env={"PATH": str(self.programs), "HOME": str(self.programs)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def made(self) -> list[str]:
        calls = self.log.read_text(encoding="utf-8").splitlines()
        return [call.split()[1] for call in calls if call.startswith("make ")]


@pytest.fixture
def machine(tmp_path: Path) -> CiMachine:
    return CiMachine(tmp_path)


def test_without_an_engine_all_checks_are_run_and_it_is_said_how_to_do_without(
    machine: CiMachine,
) -> None:
    done = machine.run()
    assert (done.returncode, machine.made()) == (0, CHECKS)
    assert "CI_MAY_SKIP=docker" in done.stderr


def test_an_engine_that_may_be_skipped_is_not_asked(machine: CiMachine) -> None:
    done = machine.run(CI_MAY_SKIP="node,docker")
    assert (done.returncode, machine.made()) == (0, CHECKS)
    assert done.stderr == ""
    assert "docker" not in machine.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("failing", CHECKS)
def test_each_failing_check_fails_the_run(machine: CiMachine, failing: str) -> None:
    machine.provide("make", f'[ "$1" != {failing} ]')
    assert machine.run(CI_MAY_SKIP="docker").returncode != 0


def _checks() -> Any:
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    return workflow["jobs"]["checks"]


def test_deployments_have_no_key_and_prod_is_last() -> None:
    deploy = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
    jobs = deploy["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "checks": None,
        "rehearsal": None,
        "staging": ["checks", "rehearsal"],
        "prod": "staging",
    }
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert "aws-access-key-id" not in text
    assert "aws-secret-access-key" not in text
    assert "secrets:" not in text


def test_a_job_that_signs_in_to_aws_installs_no_package_of_the_tests() -> None:
    """A job that can get a token from GitHub runs only what builds and deploys on its machine."""
    signing_in = [
        job
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        if job.get("permissions", {}).get("id-token") == "write" and "steps" in job
    ]
    assert len(signing_in) == 1
    [job] = signing_in
    assert job["environment"] == "${{ inputs.stage }}"
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    made = [one for one in commands if re.search(r"\b(make|uv|pip|npm)\b", one)]
    assert made == ["make install GROUP=delivery", commands[-1]]
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert [one.partition(">")[0] for one in groups["dependency-groups"]["delivery"]] == [
        "aws-sam-cli"
    ]


def test_a_failed_deployment_prints_its_reason() -> None:
    steps = yaml.safe_load(
        (ROOT / ".github/workflows/deploy-stage.yml").read_text(encoding="utf-8")
    )["jobs"]["deploy"]["steps"]
    deploys = next(n for n, step in enumerate(steps) if "sam deploy" in step.get("run", ""))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command = re.search(
        r'^failed-events:.*\n\t@\$\(BIN\)/(.*) "\$\$STAGE"$', makefile, re.MULTILINE
    )
    assert command is not None
    assert steps[deploys + 1] == {"if": "failure()", "run": f'.venv/bin/{command[1]} "$STAGE"'}


def test_tokens_of_the_smoke_test_are_masked_before_it_runs_apart_from_the_job() -> None:
    script: str = yaml.safe_load(
        (ROOT / ".github/workflows/deploy-stage.yml").read_text(encoding="utf-8")
    )["jobs"]["deploy"]["steps"][-1]["run"]
    masked, ran = script.index("::add-mask::"), script.index("docker run")
    assert masked < ran < script.index("make -C /smoke smoke")
    assert ":/checkout:ro" in script


def test_the_lock_file_of_the_clients_is_used_and_names_no_registry() -> None:
    clients = ROOT / "tests" / "clients"
    lock = (clients / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity": "sha512-' in lock
    assert '"resolved"' not in lock
    package = json.loads((clients / "package.json").read_text(encoding="utf-8"))
    pinned = json.loads(lock)["packages"][""]
    for kind in ("dependencies", "devDependencies"):
        assert pinned[kind] == package[kind]
    assert '"npm", "ci"' in (clients / "test_clients.py").read_text(encoding="utf-8")
