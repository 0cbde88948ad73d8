"""A pytest plugin: the fixture `ekb_sandbox` is a fresh sandbox of the vendor, for tests of your programs.

The sandbox keeps the vendor's limits and answers at once. The marker sets others:
`@pytest.mark.ekb_sandbox(ocr_rate=0, token_lifetime=3)` takes the keyword arguments of `ekb_async.sandbox.Sandbox`.

pytest loads this module wherever the package is installed, so it imports nothing of weight before a test asks for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ekb_async.sandbox import Sandbox

_MARKER = "ekb_sandbox(**arguments): keyword arguments of ekb_async.sandbox.Sandbox for the fixture ekb_sandbox"


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker, and the fixture in the way that suits the plugins at hand."""
    config.addinivalue_line("markers", _MARKER)
    fixtures = _async_fixtures() if config.pluginmanager.hasplugin("asyncio") else _Unavailable()
    config.pluginmanager.register(fixtures, "ekb_async_fixtures")


def _async_fixtures() -> object:
    import pytest_asyncio

    class Fixtures:
        @pytest_asyncio.fixture
        async def ekb_sandbox(self, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
            """A running sandbox of its own for this test."""
            from ekb_async.sandbox import Sandbox

            marker = request.node.get_closest_marker("ekb_sandbox")
            arguments: dict[str, Any] = dict(marker.kwargs) if marker else {}
            async with Sandbox(**arguments) as box:
                yield box

    return Fixtures()


class _Unavailable:
    @pytest.fixture
    def ekb_sandbox(self) -> None:
        """Says what is missing."""
        pytest.fail("the fixture ekb_sandbox needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)
