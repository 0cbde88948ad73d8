"""The forms in which a reply may quote a text that was sent."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote


def quotes(text: str, sent: str) -> bool:
    """Return whether a text quotes `sent` in one of its forms."""
    return any(form.casefold() in text.casefold() for form in quoted_forms(sent))


def quoted_forms(sent: str) -> Iterator[str]:
    """Yield the forms in which a text may be quoted, without those so short that they occur in most texts."""
    decoded = unquote(sent)
    for form in (sent, decoded, quote(sent, safe=""), quote(sent, safe="/:")):
        if len(form) > (2 if form.isascii() else 1):
            yield form
    if "/" in decoded:
        yield from quoted_forms(decoded.partition("?")[0].rpartition("/")[2])
