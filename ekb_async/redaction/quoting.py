"""In which forms a text that was sent may be quoted in an answer."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote


def names_what_was_sent(text: str, sent: str) -> bool:
    """Whether a text quotes this one."""
    return any(spelling.casefold() in text.casefold() for spelling in spellings(sent))


def spellings(sent: str) -> Iterator[str]:
    """Yield a text in the forms in which it may be quoted; one that is no more than a letter is in every text."""
    decoded = unquote(sent)
    for spelling in (sent, decoded, quote(sent, safe=""), quote(sent, safe="/:")):
        if len(spelling) > (2 if spelling.isascii() else 1):
            yield spelling
    if "/" in decoded:
        yield from spellings(decoded.partition("?")[0].rpartition("/")[2])
