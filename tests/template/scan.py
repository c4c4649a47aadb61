"""Scans the templates and their IAM policies for what is not secure: `make scan`.

checkov looks at all templates, the main one as SAM translates it; parliament at each policy of each
profile. What checkov may find is explained in infrastructure/scan/findings.yaml. Both run in
environments of their own, as they want other versions of packages that this project has.
"""

import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.resources import ROOT
from tests.template.rights import delivery_stack
from tests.template.stacks import DELIVERY, INFRASTRUCTURE, Stack, template

UV = ROOT / ".tools" / "uv" / "bin" / "uv"
CHECKOV = "checkov@3.3.30"
PARLIAMENT = ("--with", "setuptools<81", "parliament@1.6.4")
PROFILES = ("hobby", "standard", "ha")
Finding = tuple[str, str]
"""The check and the resource."""
EXPLAINED = ROOT / "infrastructure" / "scan" / "findings.yaml"


def main() -> None:
    with TemporaryDirectory() as directory:
        found = _template_findings(Path(directory)) | _policy_findings(Path(directory))
    problems = compared(found, yaml.safe_load(EXPLAINED.read_text(encoding="utf-8")))
    explained = EXPLAINED.relative_to(ROOT)
    print("\n".join(problems) or f"scan: nothing but what {explained} explains")
    sys.exit(bool(problems))


def _template_findings(directory: Path) -> set[Finding]:
    (directory / "template.json").write_text(json.dumps(template()), encoding="utf-8")
    for path in (*INFRASTRUCTURE, DELIVERY):
        (directory / path.name).write_bytes(path.read_bytes())
    options = ("--framework", "cloudformation", "--output", "json", "--quiet", "--skip-download")
    done = _run(CHECKOV, "--directory", str(directory), *options)
    return {
        (finding["check_id"], finding["resource"])
        for finding in json.loads(done.stdout)["results"]["failed_checks"]
    }


def compared(found: set[Finding], explained: dict[str, Any]) -> list[str]:
    """Return a line for each finding without explanation, and each explanation without finding."""
    patterns = {(check, one) for check, entry in explained.items() for one in entry["resources"]}
    open_findings = [
        f"{check} {resource}: not explained"
        for check, resource in sorted(found)
        if not any(check == of and fnmatch(resource, pattern) for of, pattern in patterns)
    ]
    idle = [
        f"{check} {pattern}: explained, but not found"
        for check, pattern in sorted(patterns)
        if not any(check == of and fnmatch(resource, pattern) for of, resource in found)
    ]
    return open_findings + idle


def _policy_findings(directory: Path) -> set[Finding]:
    folder = directory / "policies"
    folder.mkdir()
    for name, policy in policies().items():
        (folder / f"{name}.json").write_text(json.dumps(policy), encoding="utf-8")
    done = _run(*PARLIAMENT, "--directory", str(folder), "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(one["issue"], Path(one["location"]["filepath"]).stem) for one in found}


def policies() -> dict[str, dict[str, Any]]:
    """Return each different policy of the profiles and of delivery, by its resource's name."""
    found: dict[str, dict[str, Any]] = {}
    stacks = {profile: Stack(Profile=profile, DatabaseProxy="true") for profile in PROFILES}
    stacks["delivery"] = delivery_stack("staging")
    for title, stack in stacks.items():
        for name, resource in stack.resources():
            properties = resource["Properties"]
            if resource["Type"] == "AWS::IAM::ManagedPolicy":
                found[f"{name}-{title}"] = properties["PolicyDocument"]
            if resource["Type"] != "AWS::IAM::Role":
                continue
            for policy in properties.get("Policies", ()):
                found[f"{name}-{policy['PolicyName']}-{title}"] = policy["PolicyDocument"]
    return {
        name: policy
        for number, (name, policy) in enumerate(found.items())
        if policy not in list(found.values())[:number]
    }


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(UV), "tool", "run", "--quiet", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"UV_SYSTEM_CERTS": "true", "PYTHONWARNINGS": "ignore"},
    )


if __name__ == "__main__":
    main()
