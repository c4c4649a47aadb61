"""What GitHub runs: every action by its commit, on the Pythons that are promised."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.template.stacks import DELIVERY, Stack

ROOT = Path(__file__).parents[2]
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
    made = re.findall(r"^(?:chrt --idle 0 )?make (\w+)\b", script, re.MULTILINE)
    assert made == ["lint", "scan", "rehearse", "test"]


def _checks() -> Any:
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    return workflow["jobs"]["checks"]


def test_deployments_have_no_key_and_prod_comes_last() -> None:
    deploy = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text(encoding="utf-8"))
    jobs = deploy["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "checks": None,
        "staging": "checks",
        "prod": "staging",
    }
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert "aws-access-key-id" not in text
    assert "aws-secret-access-key" not in text
    stage = yaml.safe_load(
        (ROOT / ".github/workflows/deploy-stage.yml").read_text(encoding="utf-8")
    )["jobs"]["deploy"]
    assert stage["environment"] == "${{ inputs.stage }}"
    assert stage["permissions"] == {"contents": "read", "id-token": "write"}
    assert "make smoke" in stage["steps"][-1]["run"]


def test_only_the_two_environments_may_assume_the_role_that_deploys() -> None:
    role = Stack(DELIVERY, Repository="owner/name").properties("DeployRole")
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    subject = "token.actions.githubusercontent.com:sub"
    assert statement["Condition"]["StringEquals"][subject] == [
        "repo:owner/name:environment:staging",
        "repo:owner/name:environment:prod",
    ]
