"""What an invoice file (XML, OFD, PDF, picture, ZIP) says about itself, without an account and without the network.

May import `models`, `validation`, `redaction` and `errors`.
Begin with `reader`, then `formats/` (the evidence in a file), `identity` and `merge` (which invoices that makes).
"""

from ekb_async.einvoice.identity import identity_of
from ekb_async.einvoice.model import EInvoice
from ekb_async.einvoice.pool import read_many
from ekb_async.einvoice.reader import read

__all__ = ["EInvoice", "identity_of", "read", "read_many"]
