"""What an invoice file (XML, OFD, PDF, picture, ZIP) says about itself, without an account and without the network.

May import `models`, `validation`, `redaction` and `errors`.
Begin with `reader`, then `formats/` (the evidence in a file), `identity` and `merge` (which invoices that makes);
`processes/` reads files by the thousand.

Names are imported on first use (PEP 562): most of a backlog needs the identity of an invoice, and no reader.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ekb_async.einvoice.fields import check_fields
    from ekb_async.einvoice.identity import identity_of
    from ekb_async.einvoice.model import EInvoice, Reading
    from ekb_async.einvoice.processes.pool import ReaderPool, ReaderPoolClosedError, read_many
    from ekb_async.einvoice.reader import examine, read

__all__ = [
    "EInvoice",
    "ReaderPool",
    "ReaderPoolClosedError",
    "Reading",
    "check_fields",
    "examine",
    "identity_of",
    "read",
    "read_many",
]

_MODULES = ("identity", "model", "fields", "reader", "processes.pool")
"""The modules that define these names; those with few imports come first."""

if not TYPE_CHECKING:  # a type checker would accept any name if it saw `__getattr__`

    def __getattr__(name: str) -> object:
        """Import a public name on its first use."""
        if name in __all__:
            for module in _MODULES:
                found = getattr(importlib.import_module(f"{__name__}.{module}"), name, None)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
