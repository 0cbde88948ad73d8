"""A simulated vendor on this machine, with its calls, limits, lifetimes and errors, for demonstrations and tests.

May import `models`, `config`, `aio`, `validation`, `redaction` and `errors`; `virtual_time` and `replay` also `client`
and below.
Start with `server`, then `vendor`. Names are imported on first use, because pytest loads `pytest_plugin` in every run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ekb_async.sandbox.faults import Fault
    from ekb_async.sandbox.loopback import LogEntry
    from ekb_async.sandbox.replay.server import Replay
    from ekb_async.sandbox.server import Sandbox
    from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
    from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice
    from ekb_async.sandbox.vendor.rules import Rules
    from ekb_async.sandbox.vendor.vendor import Vendor

__all__ = ["Fault", "LogEntry", "Replay", "Rules", "SampleInvoice", "Sandbox", "Vendor", "VendorReply", "VendorRequest"]

_MODULES = {
    "Fault": "faults",
    "LogEntry": "loopback",
    "Replay": "replay.server",
    "Rules": "vendor.rules",
    "SampleInvoice": "vendor.invoices.sample",
    "Sandbox": "server",
    "Vendor": "vendor.vendor",
    "VendorReply": "vendor.exchange",
    "VendorRequest": "vendor.exchange",
}

if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name on its first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
