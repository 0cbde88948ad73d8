"""What an invoice file (XML, OFD, PDF, picture, ZIP) says about itself, without an account and without the network.

May import `models`, `validation`, `redaction` and `errors`.
Begin with `reader`, then `formats/` (the evidence in a file), `identity` and `merge` (which invoices that makes);
`processes/` reads files by the thousand.
"""

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
