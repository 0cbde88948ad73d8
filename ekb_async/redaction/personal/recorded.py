"""What is stored of an exchange: bodies and paths without secrets and personal data, and a last check of the result."""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

import msgspec

from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.masking import mask, unescaped
from ekb_async.redaction.personal.json_text import mask_json
from ekb_async.redaction.personal.texts import Known, Masks

UNDECODABLE = "\uf8ff"
"""Stands for a byte that is not valid in the encoding of the text."""
_UTF_8 = "utf-8"
_GB18030 = "gb18030"
_WIDE = ("utf-16", "utf-32")
_CHARACTERS_PER_NUL = 16
"""Bytes per zero byte from which on a text counts as one with control characters, not as one in a wide encoding."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_JSON_BEGINS = re.compile(r'\ufeff?\s*+[{\["]')


class MaskedText(msgspec.Struct, frozen=True):
    """A masked body. `bytes_of` returns it as it can be sent."""

    text: str
    encoding: str


class SecretInTextError(ValueError):
    """Raised for a text that is about to be stored with a secret in it."""


def masked_body(
    body: bytes,
    charset: str | None,
    masks: Masks,
    known: Known,
    secrets: tuple[str, ...],
    *,
    collects: bool = False,
) -> MaskedText:
    """Return a body masked, in its own encoding if there is one; `charset` is the declared one.

    The texts of a request (`collects`) are added to `known`, which replaces them in the body of the reply.
    """
    text, encoding = _decoded(body, charset)
    text = mask(text, secrets)
    if _JSON_BEGINS.match(text):
        masked = mask_json(text, masks, known, collects=collects)
    else:
        masked = masks.sentence(text, known)
    return MaskedText(masked, encoding)


def bytes_of(masked: MaskedText) -> bytes:
    """Return the bytes of a masked body. Raises `LookupError` for an encoding that does not exist."""
    pieces = masked.text.split(UNDECODABLE)
    return b"\xff".join(piece.encode(masked.encoding, "replace") for piece in pieces)


def check_free_of(text: str, secrets: Iterable[str]) -> None:
    """Raise `SecretInTextError` if a text contains a secret: literally, escaped, or within BASE64 or hexadecimal.

    The case of letters makes no difference.
    """
    views = [text]
    for _ in range(LIMITS.unescapings):
        # JSON within JSON is escaped twice, and a URL in it once more.
        if (plain := unescaped(views[-1])[0]) == views[-1]:
            break
        views.append(plain)
    # A line break may split a secret.
    views = [view.lower() for view in (*views, *("".join(view.split()) for view in views))]
    for secret in secrets:
        forms = _forms(secret) if len(secret) >= LIMITS.min_secret_characters else ()
        if any(form.lower() in view for form in forms for view in views):
            raise SecretInTextError("a secret was left in the text")


def _decoded(body: bytes, charset: str | None) -> tuple[str, str]:
    wide = _wide_encoding(body, charset)
    if wide is None:
        return UNDECODABLE * len(body), _UTF_8
    for encoding in (wide,) if wide else (_UTF_8, *([charset] if charset else ()), _GB18030):
        try:
            # A character that was cut off at the end is dropped.
            return _without_marks(codecs.getincrementaldecoder(encoding)().decode(body)), encoding
        except (UnicodeError, LookupError):
            continue
    text = _without_marks(body.decode(_UTF_8, "surrogateescape"))
    return _SURROGATES.sub(UNDECODABLE, text), _UTF_8


def _wide_encoding(body: bytes, charset: str | None) -> str | None:
    """Return the encoding of a body whose characters have two or four bytes, "" for another body, None if unknown."""
    encoding = charset or ""
    if not encoding.startswith(_WIDE):
        if b"\0" not in body and not body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return ""
        encoding = json.detect_encoding(body)
    if not encoding.startswith(_WIDE):
        return "" if body.count(b"\0") * _CHARACTERS_PER_NUL < len(body) else None
    try:
        codecs.getincrementaldecoder(encoding)().decode(body)
    except UnicodeError:
        return None
    return encoding


def _without_marks(text: str) -> str:
    return text.replace(UNDECODABLE, "\ufffd")


def _forms(secret: str) -> set[str]:
    """Return a secret literally, and in the forms that no unescaping finds: BASE64, at any position, hexadecimal."""
    content = secret.encode(errors="surrogatepass")
    plain = unescaped(secret)[0]
    forms = {secret, plain, content.hex()}
    # Form encoding writes spaces as pluses.
    forms |= {"".join(plain.split()), plain.replace(" ", "+")}
    # A secret that contains a percent sign cannot be told from an escape when it is unescaped.
    forms |= {quote(form, safe=safe) for form in (secret, quote(secret)) for safe in ("", "/")}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content).decode()
        # The first and the last characters also depend on what stands beside the secret.
        inner = encoded[(0, 2, 3)[offset] : len(encoded) - (0 if (offset + len(content)) % 3 == 0 else 4)]
        if len(inner) >= LIMITS.min_secret_characters:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= LIMITS.min_secret_characters}
