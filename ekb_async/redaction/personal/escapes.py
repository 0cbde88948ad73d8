"""Undo the escapes behind which a text may hide letters and digits: of URLs, HTML, JSON and mail."""

from __future__ import annotations

import re

from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.masking import MASK

_ONE = (
    r"%(?:25)*+(?P<percent>[0-9a-f]{2})|=(?P<mail>[0-9a-f]{2})|\\++x(?P<byte>[0-9a-f]{2})"
    r"|\\++u\{?(?P<json>[0-9a-f]{4,6}+)\}?|&(?:amp;)*+#(?:x0*+(?P<hex>[0-9a-f]{1,6})|0*+(?P<decimal>\d{1,7}));?"
)
_ESCAPE = re.compile(_ONE, re.IGNORECASE | re.ASCII)
_BARE = re.sub(r"\?P<\w+>", "?:", _ONE)
_RUN = re.compile(rf"(?!=..(?!=[0-9a-f]))(?:{_BARE})++", re.IGNORECASE | re.ASCII)
"""Escapes in a row; those of mail are at least two, since `=12` is also a value."""
_BYTES = frozenset({"percent", "mail", "byte"})
_LAST_CHARACTER = 0x10FFFF


def revealed(text: str) -> str:
    """Return a text in which runs of escapes that stand for letters or digits are decoded; other escapes stay."""
    for _ in range(LIMITS.unescapings):
        if (plain := _RUN.sub(_decoded, text)) == text:
            return text
        text = plain
    return _RUN.sub(MASK, text)


def _decoded(run: re.Match[str]) -> str:
    content = bytearray()
    for found in _ESCAPE.finditer(run[0]):
        code = int(found[found.lastgroup or 0], 16 if found.lastgroup != "decimal" else 10)
        if found.lastgroup in _BYTES:
            content.append(code)
        elif code > _LAST_CHARACTER:
            return MASK
        else:
            content += chr(code).encode(errors="replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        return text if any(character.isalnum() or not character.isascii() for character in text) else run[0]
    return MASK
