"""The kinds of calls, and what each of them needs."""

from __future__ import annotations

from ekb_async.backlog.input.rows.fields import BY_FIELDS, BY_ID

OF_FILES = ("ocr", "verify")
CHECKS = (BY_ID, BY_FIELDS)
"""The kinds that check an invoice at the tax authority without its file."""
PAID = (*OF_FILES, *CHECKS)
LOOKUPS = ("url", "detail")
KINDS = (*PAID, *LOOKUPS, "download")
NEEDS = {kind: (kind in OF_FILES, kind in {*LOOKUPS, "download", BY_ID}) for kind in KINDS}
"""Whether a kind needs a file, and whether it needs an invoice ID."""
