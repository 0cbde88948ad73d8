"""Everything that the vendor keeps, for the calls that read and change it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ekb_async.sandbox.vendor.books.archive import InvoiceArchive
from ekb_async.sandbox.vendor.books.documents import DocumentBook
from ekb_async.sandbox.vendor.books.enterprise import LicenceBook, Payer, StaffBook
from ekb_async.sandbox.vendor.books.files import FileStore
from ekb_async.sandbox.vendor.books.ledger import Ledger
from ekb_async.sandbox.vendor.books.tokens import TokenBook
from ekb_async.sandbox.vendor.exchange import RefusedError
from ekb_async.sandbox.vendor.rules import Rules


class Books:
    """The books of one enterprise under `rules`; `base_url` is the address in the vendor's own URLs."""

    def __init__(self, rules: Rules, base_url: str) -> None:
        secret = f"{rules.app_key}\n{rules.app_security}".encode()
        self.rules = rules
        self.base_url = base_url
        self.tokens = TokenBook(rules, secret)
        self.files = FileStore(secret)
        self.ledger = Ledger()
        self.archive = InvoiceArchive(rules, self.files, self.ledger)
        self.billed: dict[str, Counter[str]] = {}
        """How often each content (file, invoice ID, or code and number) was billed, by call."""
        self.expired_urls_sent = 0
        """The number of recognising calls with an expired file URL of this host."""
        self.documents = DocumentBook(self.archive, self.ledger)
        self.staff = StaffBook(rules)
        self.licences = LicenceBook(time.time())
        self.payers = [Payer()]
        self.clock: Callable[[], float] = time.time
        """The time (epoch seconds) of what is added without a time; requests bring their own."""

    def checked_ids(self, invoice_ids: list[str]) -> list[str]:
        """Return invoice IDs without duplicates. Raise the vendor's refusal if one of them is not acceptable."""
        if any(self.rules.poisons(invoice_id) for invoice_id in invoice_ids):
            raise RefusedError(400, "发票ID不合法")
        return list(dict.fromkeys(invoice_ids))
