"""What an export is about, beside its rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ekb_async.backlog.store.transactions.accounting import Accounting
from ekb_async.backlog.store.transactions.purged import Purged


class About(NamedTuple):
    """What a workbook is about: accounting and purged rows of its backlog, the selected rows, and where it will lie."""

    accounting: Accounting | None = None
    purged: Purged | None = None
    state: str | None = None
    kind: str | None = None
    folder: Path = Path()
    moment: datetime | None = None
    tenant: str | None = None
    ref: str | None = None
    since: datetime | None = None
