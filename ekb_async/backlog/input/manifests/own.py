"""A user's own columns: those whose headings mean nothing here. Their values are kept as text, for the export.

A signed URL in them is kept without its query, as everywhere in a backlog.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import msgspec

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.rows.fields import WrongFieldError
from ekb_async.redaction.signed_urls import URL_USER, without_signed_queries

_BREAKS = re.compile(r"\s*[\r\n\t]+\s*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def own_heading(name: str) -> str:
    """Return the name under which a column's values are kept: trimmed, in one line, in Unicode's form NFC.

    Raises `WrongFieldError` if it is too long or has control characters.
    """
    text = name.strip()
    if len(text) <= LIMITS.heading_characters_read:
        text = unicodedata.normalize("NFC", _unsigned(_BREAKS.sub(" ", text)))
    if len(text) > LIMITS.own_heading_characters:
        raise WrongFieldError(name, f"the name of a column has at most {LIMITS.own_heading_characters} characters")
    if _CONTROL.search(text):
        raise WrongFieldError(name, "the name of a column has control characters")
    return text


def own_values(cells: Iterable[tuple[str, str]]) -> str:
    """Return a JSON object of the values that are not empty, "" if all are. The cells are pairs of heading and text.

    Raises `WrongFieldError` for a value that is too long or has control characters.
    """
    kept = {}
    for heading, value in cells:
        if not value or value.isspace():
            continue
        if len(value) > LIMITS.own_value_characters:
            raise WrongFieldError(heading, f"the value has more than {LIMITS.own_value_characters:,} characters")
        if not value.isprintable() and _CONTROL.search(value):
            raise WrongFieldError(heading, "the value has control characters")
        kept[heading] = _unsigned(value)
    return msgspec.json.encode(kept).decode() if kept else ""


def _unsigned(text: str) -> str:
    if "?" in text:
        text = without_signed_queries(text)
    return URL_USER.sub("", text) if "@" in text else text
