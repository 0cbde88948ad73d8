"""A pytest plugin with the fixture `ekb_sandbox`, a fresh sandbox of the vendor for tests of your programs.

The sandbox runs in its own thread with its own loop, so it serves synchronous tests and tests in any loop, with any
plugin for asynchronous tests or none. It keeps the vendor's limits and answers at once. The marker
`@pytest.mark.ekb_sandbox(ocr_rate=0, token_lifetime=3)` takes the keyword arguments of `ekb_async.sandbox.Sandbox`.

pytest loads this module wherever the package is installed, so nothing heavy is imported before a test uses the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ekb_async.sandbox import Sandbox

_MARKER = "ekb_sandbox(**arguments): keyword arguments of ekb_async.sandbox.Sandbox for the fixture ekb_sandbox"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def ekb_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Run a fresh sandbox for this test."""
    from ekb_async.sandbox import Sandbox

    marker = request.node.get_closest_marker("ekb_sandbox")
    arguments: dict[str, Any] = {**marker.kwargs} if marker else {}
    with Sandbox(**arguments) as box:
        yield box
