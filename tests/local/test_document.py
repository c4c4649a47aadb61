"""/docs of `make run` is what the routes say, also after they change."""

import os
import sys
from pathlib import Path

import httpx

from local.services import Services
from tests.e2e.targets import free_port, running, wait_until_ready
from tests.repository_copy import copy_repository

OLD, NEW = "Create a user.", "Make a user."


def test_docs_follow_a_reload(tmp_path: Path, services: Services) -> None:
    copy_repository(tmp_path)
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "PYTHONPATH": str(tmp_path),
    }
    command = [sys.executable, "-m", "local", "run", "--port", str(port)]
    routes = tmp_path / "functions" / "users" / "routes.py"
    code = routes.read_text(encoding="utf-8")
    with (
        running(command, environment, tmp_path),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api,
    ):
        wait_until_ready(api)

        def description() -> str:
            return str(api.get("/openapi.json").json()["paths"]["/users"]["post"]["description"])

        assert description().startswith(OLD)
        routes.write_text(code.replace(OLD, NEW), encoding="utf-8")
        assert description().startswith(NEW)
        routes.write_text("def broken(", encoding="utf-8")
        assert description().startswith(NEW)
        routes.write_text(code, encoding="utf-8")
        assert description().startswith(OLD)
