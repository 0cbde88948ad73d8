"""Which rows of a backlog are meant."""

from __future__ import annotations

from typing import NamedTuple


class Selection(NamedTuple):
    """Rows by what they have; None means that it does not matter.

    `file` is a part of the file or the invoice ID, in any case; `ref` and `manifest`, a path, are meant as they are
    stored. With `warned` only rows that have a warning.
    """

    state: str | None = None
    kind: str | None = None
    tenant: str | None = None
    manifest: str | None = None
    file: str | None = None
    ref: str | None = None
    warned: bool = False
