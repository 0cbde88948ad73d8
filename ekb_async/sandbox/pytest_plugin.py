"""A pytest plugin: the fixture `ekb_sandbox` is a fresh sandbox of the vendor, for tests of your programs.

It runs in a thread with a loop of its own, so it serves synchronous tests and tests in any loop, with any plugin for
asynchronous tests or none. The sandbox keeps the vendor's limits and answers at once. The marker sets others:
`@pytest.mark.ekb_sandbox(ocr_rate=0, token_lifetime=3)` takes the keyword arguments of `ekb_async.sandbox.Sandbox`.

pytest loads this module wherever the package is installed, so it imports nothing of weight before a test uses it.
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
    """Run a sandbox of its own for this test."""
    from ekb_async.sandbox import Sandbox

    marker = request.node.get_closest_marker("ekb_sandbox")
    arguments: dict[str, Any] = {**marker.kwargs} if marker else {}
    with Sandbox(**arguments) as box:
        yield box
