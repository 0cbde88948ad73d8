"""The pytest plugin; see `ekb_async.sandbox.pytest_plugin`."""

from ekb_async.sandbox.pytest_plugin import ekb_sandbox, pytest_configure

__all__ = ["ekb_sandbox", "pytest_configure"]
