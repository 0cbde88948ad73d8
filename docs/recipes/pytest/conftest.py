"""The service on a sandbox of the vendor, which each test has for itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from service import app

from ekb_async.sandbox import Sandbox


@pytest.fixture
async def client(
    ekb_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("EKB_BASE_URL", ekb_sandbox.base_url)
    monkeypatch.setenv("EKB_APP_KEY", ekb_sandbox.credentials.app_key)
    monkeypatch.setenv("EKB_APP_SECURITY", ekb_sandbox.credentials.app_security)
    monkeypatch.setenv("EKB_STATE_DIR", str(tmp_path / "state"))  # the pace and the token of this test alone
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),  # opens the session of the service
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield client
