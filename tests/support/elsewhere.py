"""Download URLs that lead to another server."""

from __future__ import annotations

from typing import Any

import pytest

from ekb_async.sandbox import Sandbox


def send_to(box: Sandbox, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the vendor answer with this URL for every invoice."""
    url_item = box.vendor.archive.url_item

    def elsewhere(invoice_id: str, base_url: str, at: float) -> dict[str, Any] | None:
        return {**(url_item(invoice_id, base_url, at) or {}), "url": url}

    monkeypatch.setattr(box.vendor.archive, "url_item", elsewhere)
