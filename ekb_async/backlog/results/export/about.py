"""What an export is about, beside its rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ekb_async.backlog.store.accounting import Accounting


class About(NamedTuple):
    """What a workbook is about: the accounting of its backlog, the rows that were selected, where it will lie."""

    accounting: Accounting | None = None
    state: str | None = None
    kind: str | None = None
    folder: Path = Path()
    moment: datetime | None = None
    tenant: str | None = None
    ref: str | None = None
    since: datetime | None = None
