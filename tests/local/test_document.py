"""/docs of `make run` is what the routes say, also after they change."""

import os
import sys
from pathlib import Path

import httpx

from local.services import Services
from tests.e2e.targets import free_port, running, wait_until_ready
from tests.repository_copy import copy_repository


def test_docs_follow_a_reload(tmp_path: Path, services: Services) -> None:
    copy_repository(tmp_path)
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "PYTHONPATH": str(tmp_path),
    }
    command = [sys.executable, "-m", "local", "run", "--port", str(port)]
    routes = tmp_path / "functions" / "meta" / "routes.py"
    with (
        running(command, environment, tmp_path),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api,
    ):
        wait_until_ready(api)

        def rename(old: str, new: str) -> str:
            routes.write_text(
                routes.read_text(encoding="utf-8").replace(old, new), encoding="utf-8"
            )
            document = api.get("/openapi.json").json()
            return str(document["paths"]["/docs"]["get"]["description"])

        document = tmp_path / "functions" / "meta" / "openapi.json"
        written_at = document.stat().st_mtime_ns
        before = rename("", "")
        assert before.startswith("Return this document")
        assert document.stat().st_mtime_ns == written_at  # it says the same
        assert rename(before, "Show this document.") == "Show this document."
        broken = tmp_path / "functions" / "broken" / "routes.py"
        broken.parent.mkdir()
        broken.write_text("def broken(", encoding="utf-8")
        assert rename("Show this document.", before) == "Show this document."
        broken.unlink()
        assert rename("", "") == before
