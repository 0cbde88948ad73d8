"""A row as it is imported into a backlog."""

from __future__ import annotations

import re
from typing import NamedTuple

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ManifestRow(NamedTuple):
    """One checked row. `file` is as written, except that a URL has lost its signature.

    `start` and `length` locate the row in the manifest if a signature was removed; otherwise both are 0. They are in
    bytes, except that `start` is the number of the row in a workbook.

    `own` has the columns that only the user knows, as JSON. If its file was read, `printed` has what it says of itself
    and `keys` the names of its invoices (see `reading`); `content` is the identity of a call on this very file, and
    `form` says how well the vendor takes it, 0 best.
    """

    line: int
    start: int = 0
    length: int = 0
    kind: str = ""
    identity: str = ""
    ref: str = ""
    file: str = ""
    invoice_id: str = ""
    staff_id: str = ""
    file_name: str = ""
    tenant: str = ""
    date: str = ""
    content: str = ""
    form: int = 0
    own: str = ""
    printed: str = ""
    keys: str = ""


def has_control(column: str, value: str) -> bool:
    """Return whether a value has control characters that its column does not allow."""
    return "\0" in value or (column != "ref" and _CONTROL.search(value) is not None)
