"""Which rows of a backlog are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Selection(NamedTuple):
    """Rows by what they have; None means that it does not matter.

    `file` is a part of the file or the invoice ID, in any case; `ref` and `manifest`, a path, are meant as they are
    stored. With `warned` only rows that have a warning. `since` is the time in epoch seconds at which a call has ended,
    or later; `calls` are the numbers of calls.
    """

    state: str | None = None
    kind: str | None = None
    tenant: str | None = None
    manifest: str | None = None
    file: str | None = None
    ref: str | None = None
    warned: bool = False
    since: float | None = None
    calls: Sequence[int] | None = None
