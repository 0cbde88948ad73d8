"""Find secrets in what goes over the wire: tokens and keys in their fields, signatures in URLs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

from ekb_async.redaction import url_names
from ekb_async.redaction.personal.harmless import SECRET_NAME

_TEXT_FIELD = re.compile(r'"([^"\\]{1,60})"\s{0,9}:\s{0,9}("(?:[^"\\]|\\.)++")', re.DOTALL)
_QUERY = re.compile(r"""[?&]([A-Za-z0-9_.%-]{1,60})=([^\s"'<>\\&#]{1,2000})""")
_WORDS = re.compile(r"[a-z/.;=_-]*|\d{1,13}")
_SHORTEST_CHARACTERS = 8
"""Length from which a text in a secret's place is one; shorter ones occur in ordinary texts."""


def secrets_in(body: bytes) -> Iterator[str]:
    """Yield the texts in fields of a body that are named like secrets, and the signatures of its URLs."""
    text = body.decode(errors="replace")
    for name, raw in _TEXT_FIELD.findall(text):
        if SECRET_NAME.search(name) and len(raw) > _SHORTEST_CHARACTERS + 1:
            try:
                yield json.loads(raw, strict=False)
            except ValueError:
                yield raw[1:-1]
    yield from signatures_in(text)


def signatures_in(text: str) -> Iterator[str]:
    """Yield the values of parameters that sign the URLs in a text, as they are and decoded."""
    text = text.replace("\\/", "/").replace("\\u0026", "&").replace("&amp;", "&")
    for spelled, value in _QUERY.findall(text):
        name = unquote(spelled).lower()
        is_signature = SECRET_NAME.search(name) or (url_names.SIGNS.search(name) and not url_names.EXPIRY.search(name))
        decoded = unquote(value)
        if is_signature and len(decoded) >= _SHORTEST_CHARACTERS and not _WORDS.fullmatch(decoded):
            yield value
            yield decoded
