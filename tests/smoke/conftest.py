"""The API that `make smoke` calls: a stage of samconfig.toml, or one with a URL and two tokens."""

import os
from collections.abc import Iterator

import pytest

from tests.smoke.stage import VARIABLES, Deployed, NoUserPool, signed_in, stage

HELP = f"set STAGE, or {', '.join(VARIABLES)}; docs/deployment.md says how to get them"


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    given = [os.environ.get(name, "") for name in VARIABLES]
    if all(given):
        yield Deployed(*given)
    elif any(given) or not os.environ.get("STAGE"):
        pytest.exit(HELP, returncode=2)
    else:
        try:
            with signed_in(stage(os.environ["STAGE"])) as found:
                yield found
        except NoUserPool as error:
            pytest.exit(f"{error}; {HELP}", returncode=2)
